// A batch from upload to answers. Needs: npm install openai
//
//   AZURE_OPENAI_ENDPOINT=http://127.0.0.1:8080 AZURE_OPENAI_API_KEY=KEY node batch.mjs [in.jsonl]

import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { AzureOpenAI } from 'openai';

const client = new AzureOpenAI({
  endpoint: process.env.AZURE_OPENAI_ENDPOINT ?? 'http://127.0.0.1:8080',
  apiKey: process.env.AZURE_OPENAI_API_KEY,
  apiVersion: '2024-10-21',
});

// 1. Upload the requests.
const file = await client.files.create({
  file: createReadStream(process.argv[2] ?? 'test.jsonl'),
  purpose: 'batch',
});
console.log('uploaded', file.id);

// 2. Create the batch.
let batch = await client.batches.create({
  input_file_id: file.id,
  endpoint: '/chat/completions',
  completion_window: '24h',
});
console.log('created', batch.id);

// 3. Watch it. It is over in four ways.
const over = ['completed', 'failed', 'cancelled', 'expired'];
while (!over.includes(batch.status)) {
  await setTimeout(1_000);
  batch = await client.batches.retrieve(batch.id);
  console.log(batch.status, batch.request_counts);
}
for (const { line, code, message } of batch.errors?.data ?? []) console.log(line, code, message);

// 4. Download the answers, and the lines that failed.
for (const [id, path] of [
  [batch.output_file_id, 'batch_output.jsonl'],
  [batch.error_file_id, 'batch_errors.jsonl'],
]) {
  if (!id) continue;
  const content = await client.files.content(id);
  await writeFile(path, await content.text());
  console.log('downloaded', path);
}

// 5. Cancel another one. What is answered by then is kept.
const second = await client.batches.create({
  input_file_id: file.id,
  endpoint: '/chat/completions',
  completion_window: '24h',
});
try {
  console.log((await client.batches.cancel(second.id)).status);
} catch (error) {
  // It was faster.
  console.log(error.message);
}

// 6. List, newest first. The SDK asks for further pages by itself.
for await (const { id, status } of client.batches.list({ limit: 20 })) console.log(id, status);
