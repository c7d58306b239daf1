"""A batch from upload to answers. Needs: pip install openai

AZURE_OPENAI_ENDPOINT=http://127.0.0.1:8080 AZURE_OPENAI_API_KEY=KEY python3 batch.py [in.jsonl]
"""

import os
import sys
import time

from openai import AzureOpenAI

client = AzureOpenAI(
    azure_endpoint=os.environ.get("AZURE_OPENAI_ENDPOINT", "http://127.0.0.1:8080"),
    api_key=os.environ["AZURE_OPENAI_API_KEY"],
    api_version="2024-10-21",
)

# 1. Upload the requests.
path = sys.argv[1] if len(sys.argv) > 1 else "test.jsonl"
with open(path, "rb") as requests:
    file = client.files.create(file=requests, purpose="batch")
print("uploaded", file.id)

# 2. Create the batch.
batch = client.batches.create(
    input_file_id=file.id,
    endpoint="/chat/completions",
    completion_window="24h",
)
print("created", batch.id)

# 3. Watch it. It is over in four ways.
while batch.status not in ("completed", "failed", "cancelled", "expired"):
    time.sleep(1)
    batch = client.batches.retrieve(batch.id)
    print(batch.status, f"{batch.request_counts.completed}/{batch.request_counts.total}")
if batch.errors:
    for error in batch.errors.data:
        print(error.line, error.code, error.message)

# 4. Download the answers, and the lines that failed.
for file_id, target in (
    (batch.output_file_id, "batch_output.jsonl"),
    (batch.error_file_id, "batch_errors.jsonl"),
):
    if file_id:
        client.files.content(file_id).write_to_file(target)
        print("downloaded", target)

# 5. Cancel another one. What is answered by then is kept.
second = client.batches.create(
    input_file_id=file.id,
    endpoint="/chat/completions",
    completion_window="24h",
)
try:
    print(client.batches.cancel(second.id).status)
except Exception as refusal:  # It was faster.
    print(refusal)

# 6. List, newest first. The SDK asks for further pages by itself.
for each in client.batches.list(limit=20):
    print(each.id, each.status)
