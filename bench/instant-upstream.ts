import { createServer, type Socket } from 'node:net';

// This is a model server in a process of its own. It answers at once and does nothing else, so that the client is what is
// measured. It trusts its clients to send well-formed requests with a content-length, one at a time per connection.

const body = Buffer.from(
  JSON.stringify({
    id: 'chatcmpl-bench',
    object: 'chat.completion',
    created: 1_700_000_000,
    model: 'bench',
    choices: [
      { index: 0, message: { role: 'assistant', content: 'x'.repeat(1_000) }, finish_reason: 'stop' },
    ],
    usage: { prompt_tokens: 400, completion_tokens: 200, total_tokens: 600 },
  }),
);
const answer = Buffer.concat([
  Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`),
  body,
]);

const LENGTH = /content-length: ?(\d+)/i;

function serve(socket: Socket): void {
  /** So many bytes of the current request are still to come. Undefined while its head is incomplete. */
  let missing: number | undefined;
  let head: Buffer = Buffer.alloc(0);
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    if (missing === undefined) {
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end === -1) return;
      missing = Number(LENGTH.exec(head.toString('latin1', 0, end))?.[1] ?? 0) - (head.length - end - 4);
    } else {
      missing -= chunk.length;
    }
    if (missing > 0) return;
    missing = undefined;
    head = Buffer.alloc(0);
    socket.write(answer);
  });
}

const server = createServer(serve);
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.send?.(typeof address === 'object' ? address?.port : null);
});
process.on('disconnect', () => process.exit(0));
