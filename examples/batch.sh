#!/bin/sh
# A batch from upload to answers, with curl and sed alone.
#
#   AZURE_OPENAI_ENDPOINT=http://127.0.0.1:8080 AZURE_OPENAI_API_KEY=KEY sh batch.sh [in.jsonl]
set -eu

: "${AZURE_OPENAI_ENDPOINT:=http://127.0.0.1:8080}"
: "${AZURE_OPENAI_API_KEY:?Set it to the key of the service.}"
input=${1:-test.jsonl}
api=$AZURE_OPENAI_ENDPOINT/openai
version=api-version=2024-10-21

call() { curl -sS --fail-with-body -H "api-key: $AZURE_OPENAI_API_KEY" "$@"; }
# The text of that name in a JSON answer; nothing when it is null.
text() { tr -d '\n' | sed -n "s/^.*\"$1\": *\"\([^\"]*\)\".*\$/\1/p"; }

# 1. Upload the requests.
file=$(call "$api/files?$version" -F purpose=batch -F "file=@$input;type=application/json" | text id)
echo "uploaded $file"

# 2. Create the batch. The same key and body give the same batch, so that a repeat makes no second one.
create() {
  call "$api/batches?$version" -H 'content-type: application/json' -H "idempotency-key: $1-$file" \
    -d "{\"input_file_id\": \"$file\", \"endpoint\": \"/chat/completions\", \"completion_window\": \"24h\"}" | text id
}
batch=$(create first)
echo "created $batch"

# 3. Watch it. It is over in four ways.
while :; do
  answer=$(call "$api/batches/$batch?$version")
  status=$(echo "$answer" | text status)
  echo "$status"
  case $status in completed | failed | cancelled | expired) break ;; esac
  sleep 1
done

# 4. Download the answers, and the lines that failed.
for kind in output error; do
  id=$(echo "$answer" | text "${kind}_file_id")
  [ -n "$id" ] || continue
  call "$api/files/$id/content?$version" -o "batch_$kind.jsonl"
  echo "downloaded batch_$kind.jsonl"
done

# 5. Cancel another one. What is answered by then is kept; a batch that has ended is refused.
second=$(create second)
if answer=$(call -X POST "$api/batches/$second/cancel?$version"); then
  echo "$second is $(echo "$answer" | text status)"
else
  echo "$answer"
fi

# 6. List: all, newest first; and those that completed in the last hour, oldest first.
call "$api/batches?$version&limit=20" -o batches.json
call -G "$api/batches" --data-urlencode 'api-version=2024-10-01-preview' \
  --data-urlencode "\$filter=created_at gt $(($(date +%s) - 3600)) and status eq 'Completed'" \
  --data-urlencode '$orderby=created_at asc' -o completed.json
echo 'listed batches.json completed.json'
