import type { BatchEndpoint, BatchErrors } from '../../contract/batch.ts';
import type { Inspection } from '../../contract/inspection.ts';
import { withFileError } from './errors.ts';

/**
 * All that speaks against running an inspected file as a batch on `endpoint`: the faults of the file, and a url that is
 * not the endpoint. In Azure's dialect `/chat/completions` also stands for files that go to `/responses` as a whole.
 */
export function judge(
  { errors, url }: Inspection,
  endpoint: BatchEndpoint,
  dialect: 'azure' | 'openai',
): BatchErrors | null {
  const admitted = dialect === 'azure' && endpoint === '/chat/completions' && url === '/responses';
  if (url === null || url === endpoint || admitted) return errors;
  return withFileError(errors, {
    code: 'url_mismatch',
    param: 'url',
    line: null,
    message: `The url of the requests, "${url}", does not match the endpoint of the batch, "${endpoint}". Please ensure that all request URLs match it, or create the batch with the endpoint "${url}".`,
  });
}
