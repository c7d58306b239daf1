import { API_ERRORS, type ApiErrorCode, type ErrorEntry } from '../../src/contract/error.ts';
import { API_ERROR_GUIDE, BATCH_ERROR_GUIDE, RESULT_ERROR_GUIDE, type Guide } from './error-guide.ts';

/** The text of docs/errors.md. */
export function errorPage(): string {
  return `${INTRODUCTION}
${answers()}
${OF_BATCHES}
${byCode(BATCH_ERROR_GUIDE)}

${OF_LINES}
${byCode(RESULT_ERROR_GUIDE)}
`;
}

/** Makes a list for each status. A longer cell would lay out a table anew. */
function answers(): string {
  const codes = Object.keys(API_ERRORS) as ApiErrorCode[];
  const entries = codes.map((code): Row => ({ entry: API_ERRORS[code], guide: API_ERROR_GUIDE[code] }));
  const statuses = [...new Set(entries.map(({ entry }) => entry.status))].toSorted(
    (one, other) => one - other,
  );
  return statuses
    .map((status) => {
      const rows = entries.filter(({ entry }) => entry.status === status);
      return `### ${status}\n\n${rows.map(answer).join('\n')}\n`;
    })
    .join('\n');
}

interface Row {
  readonly entry: ErrorEntry;
  readonly guide: Guide;
}

function answer({ entry: { azure, openai, openaiStatus }, guide }: Row): string {
  const onV1 = [openaiStatus, openai && `\`${openai}\``].filter(Boolean).join(' ');
  return `- \`${azure}\`${onV1 && `, on \`/v1\` ${onV1}`}: ${textOf(guide)}`;
}

const byCode = (guides: Readonly<Record<string, Guide>>): string =>
  Object.entries(guides)
    .map(([code, guide]) => `- \`${code}\`: ${textOf(guide)}`)
    .join('\n');

const textOf = ([means, next]: Guide): string => `${means}. → ${next}.`;

const INTRODUCTION = `# Errors

<!-- Made from src/contract/error.ts and scripts/docs/error-guide.ts by \`npm run fix\`. -->

An error is in one of three places: in the answer to a call, on a batch that failed, or on a line of its error file. Every
message says what is wrong, which part, and what to do. Programs should use the code, since messages may change.

## Answers to calls

On \`/openai/...\` and the control plane an error has Azure's shape, on \`/v1/...\` OpenAI's:

\`\`\`json
{ "error": { "code": "invalidPayload", "message": "Missing required parameter: 'input_file_id'.", "target": "input_file_id" } }
{ "error": { "message": "Missing required parameter: 'input_file_id'.", "type": "invalid_request_error", "param": "input_file_id", "code": "missing_required_parameter" } }
\`\`\`

A call whose answer has \`Retry-After\` can be repeated, and SDKs do so. Any other error stays until the request changes.
\`x-request-id\` names the call in the log of the service. Each list begins with the code on Azure's surfaces. Where it gives no
code for \`/v1\`, the code is null there.

Some requests are refused before it is known who asks what: HTTP that cannot be read (400), headers of more than 16 KiB (431),
\`CONNECT\` (405), and an \`Expect\` other than \`100-continue\` (417). Such an error has the members of both shapes, and the code
\`BadRequest\`.
`;

const OF_BATCHES = `## Faults of a batch

A batch that failed has its faults in \`errors.data\`: \`code\`, \`message\`, \`param\` (the member at fault) and \`line\` (1-based, by
physical line; \`null\` is the whole file). Each bad line is listed with its first fault, 1,000 at most; \`offpeak.errors_omitted\`
counts the rest. Nothing was sent from the file. A batch keeps the codes of the surface that it was created on.
`;

const OF_LINES = `## Lines of the error file

A request that failed is a line of the error file. When the model server answered, \`response.status_code\` is 400 or more,
\`response.body\` is its answer as it came, and \`error\` is null: code and message are those of the model server. When there is
no answer, \`response\` is null and \`error\` has one of these:
`;
