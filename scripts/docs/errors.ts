import { API_ERRORS, type ApiErrorCode, type ErrorEntry } from '../../src/contract/error.ts';
import { API_ERROR_GUIDE, BATCH_ERROR_GUIDE, RESULT_ERROR_GUIDE, type Guide } from './error-guide.ts';

/** docs/errors.md. A test holds the file against it; `npm run fix` writes it. */
export function errorPage(): string {
  return `${INTRODUCTION}
${answers()}
${OF_BATCHES}
${byCode(BATCH_ERROR_GUIDE)}

${OF_LINES}
${byCode(RESULT_ERROR_GUIDE)}
`;
}

/** A list for each status, and not a table, which each longer cell would lay out anew. */
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
  return `- \`${azure}\`${onV1 && `, on \`/v1\` ${onV1}`}: ${told(guide)}`;
}

const byCode = (guides: Readonly<Record<string, Guide>>): string =>
  Object.entries(guides)
    .map(([code, guide]) => `- \`${code}\`: ${told(guide)}`)
    .join('\n');

const told = ([means, next]: Guide): string => `${means}. → ${next}.`;

const INTRODUCTION = `# Errors

<!-- Made from src/contract/error.ts and scripts/docs/error-guide.ts by \`npm run fix\`. -->

A fault is told in one of three places: in the answer to a call, on a batch that failed, or on a line of its error file.
Every message says what is wrong, which part, and what to do. Programs should go by the code: messages get better.

## Answers to calls

On \`/openai/...\` and the control plane an error looks as Azure has it, on \`/v1/...\` as OpenAI has it:

\`\`\`json
{ "error": { "code": "invalidPayload", "message": "Missing required parameter: 'input_file_id'.", "target": "input_file_id" } }
{ "error": { "message": "Missing required parameter: 'input_file_id'.", "type": "invalid_request_error", "param": "input_file_id", "code": "missing_required_parameter" } }
\`\`\`

Answers with \`Retry-After\` are worth a repeat; SDKs do that by themselves. All others stay as they are until the request
changes. \`x-request-id\` names the call in the log of the service. By status, the code on Azure's surfaces comes first; where
none is given for \`/v1\`, it is null there.

What is no HTTP that can be read (400), headers of more than 16 KiB (431), \`CONNECT\` (405) and an \`Expect\` other than
\`100-continue\` (417) are refused before it is known who asks what: such an error has the members of both shapes, and the code
\`BadRequest\`.
`;

const OF_BATCHES = `## Faults of a batch

A batch that failed has them in \`errors.data\`: \`code\`, \`message\`, \`param\` (the member at fault) and \`line\` (1-based, by
physical line; \`null\` is the whole file). Each bad line is listed with its first fault, 1,000 at most; \`offpeak.errors_omitted\`
counts the rest. Nothing was sent from the file. A batch keeps the codes of the surface that it was created on.
`;

const OF_LINES = `## Lines of the error file

A request that failed is a line of the error file. When the model server answered, \`response.status_code\` is 400 or more,
\`response.body\` is its answer as it came, and \`error\` is null: code and message are those of the model server. When there is
no answer, \`response\` is null and \`error\` has one of these:
`;
