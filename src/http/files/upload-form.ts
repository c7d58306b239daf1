/** The form of `POST /files`. */
import type { FastifyRequest } from 'fastify';
import { toFilename } from '../../batch/upload/filename.ts';
import type { Upload } from '../../batch/upload/upload.ts';
import { ApiError, type Dialect } from '../../contract/error.ts';
import type { FileRow } from '../../contract/file.ts';
import { fileExpiry, flattened } from '../wire/expiry.ts';
import { FormFields, receiveForm, type FormFile } from './multipart.ts';
import { WRONG_PURPOSE } from '../wire/schemas.ts';
import type { Surface } from '../address/surface.ts';

export function receiveUpload(
  request: FastifyRequest,
  surface: Surface,
  store: (upload: Upload) => Promise<FileRow>,
): Promise<FileRow> {
  const { dialect } = surface;
  const fields = new UploadFields(surface);
  return receiveForm(request, {
    fileField: 'file',
    fields,
    store: async (file) =>
      store({
        filename: await judgedName(file, dialect),
        purpose: 'batch',
        dialect,
        chunks: file.chunks,
        // It is known once `chunks` has ended. The row is made after that.
        get expiresAfterS() {
          return fields.expiresAfterS;
        },
      }),
  });
}

/** A fault in the rest of the form, such as its purpose, is reported rather than one in the name. */
async function judgedName({ filename, chunks }: FormFile, dialect: Dialect): Promise<string> {
  try {
    return toFilename(filename, { purpose: 'batch', dialect });
  } catch (refusal) {
    for await (const _chunk of chunks);
    throw refusal;
  }
}

class UploadFields extends FormFields {
  readonly #surface: Surface;
  #expiresAfterS: number | null = null;
  constructor(surface: Surface) {
    super();
    this.#surface = surface;
  }

  protected override onField(name: string, value: string): void {
    // The other purposes belong to services that Offpeak does not have.
    if (name === 'purpose' && value !== 'batch')
      throw new ApiError('invalidPayload', WRONG_PURPOSE, { param: 'purpose' });
  }

  override check(): void {
    if (this.get('purpose') === undefined)
      throw new ApiError('missingParameter', "Missing required parameter: 'purpose'.", { param: 'purpose' });
    if (!this.#surface.fileExpiry) return;
    if (this.get('expires_after') !== undefined)
      throw new ApiError(
        'invalidType',
        "Invalid type for 'expires_after': in a form, send it as the fields expires_after[anchor] and expires_after[seconds].",
        { param: 'expires_after' },
      );
    const wanted = flattened((key) => this.get(key), 'expires_after');
    this.#expiresAfterS = fileExpiry(this.#surface, wanted);
  }

  get expiresAfterS(): number | null {
    return this.#expiresAfterS;
  }
}
