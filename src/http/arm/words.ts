/** Azure's names for what the ARM routes show. */
export const PROVIDER = 'Microsoft.CognitiveServices';
/** The kind of every account, and the format of every model. */
export const KIND = 'OpenAI';
export const DEFAULT_CONTENT_FILTER = 'Microsoft.DefaultV2';
