import { describe, expect, test } from 'vitest';
import { NO_USAGE, type UpstreamAnswer, type UpstreamReply } from '../upstream/port.ts';
import { isAccepted, classifyFailure } from './classify.ts';

const answer = (status: number, body: unknown = {}, more: Partial<UpstreamAnswer> = {}): UpstreamAnswer => ({
  kind: 'answer',
  status,
  body: Buffer.from(JSON.stringify(body)),
  requestId: null,
  retryAfterMs: null,
  usage: NO_USAGE,
  fault: null,
  ...more,
});
const says = (status: number, message: string) => answer(status, { error: { message } });
const failure = (reason: Extract<UpstreamReply, { kind: 'failure' }>['reason']): UpstreamReply => ({
  kind: 'failure',
  reason,
  message: 'm',
  status: null,
});
const inside = (code: string | null, message: string): UpstreamReply =>
  answer(200, {}, { fault: { code, message } });

test('only a success without a failure inside is accepted', () => {
  expect([answer(200), answer(201), answer(299)].every(isAccepted)).toBe(true);
  expect([answer(199), answer(300), inside(null, 'x'), failure('reset')].some(isAccepted)).toBe(false);
});

describe('a reply speaks about its request, the set-up, the pace or the upstream', () => {
  test.each([
    ['rejected', [400, 413, 414, 422, 431]],
    ['throttled', [429]],
    ['refused', [301, 302, 307, 401, 402, 403, 404, 405, 406, 407, 410, 415, 426, 501, 511]],
    ['unavailable', [502, 503, 504, 520, 522, 529, 530]],
    ['failed', [408, 409, 418, 424, 425, 460, 498, 499, 500, 507, 599]],
  ] as const)('%s: %j', (kind, statuses) => {
    expect(statuses.map((status) => classifyFailure(answer(status)).kind)).toEqual(statuses.map(() => kind));
  });

  test.each([
    [failure('unreachable'), 'unreachable'],
    [failure('reset'), 'silent'],
    [failure('timeout'), 'silent'],
    [failure('bad_answer'), 'failed'],
    [failure('foreign_answer'), 'refused'],
    [failure('redirect'), 'refused'],
    [inside(null, 'the engine failed'), 'failed'],
    [inside('502', 'bad gateway'), 'unavailable'],
    [inside('rate_limit_exceeded', 'slow down'), 'throttled'],
    [inside('403', 'no'), 'refused'],
  ] as const)('%j is %s', (reply, kind) => {
    expect(classifyFailure(reply).kind).toBe(kind);
  });
});

describe('a text that names the account or the model is about the set-up, whatever the status', () => {
  test.each([
    says(400, 'Your credit balance is too low to access the Anthropic API.'),
    says(402, 'Insufficient Balance'),
    says(429, 'You exceeded your current quota, please check your plan and billing details.'),
    answer(429, { error: { message: 'no', code: 'insufficient_quota' } }),
    answer(400, { error: { message: 'The model `x` does not exist', code: 'model_not_found' } }),
    answer(400, { error: { message: '/chat/completions: Invalid model name passed in model=x.' } }),
    answer(400, { error: 'No models loaded. Please load a model in the developer page.' }),
    answer(404, { object: 'error', message: 'The model `x` does not exist.' }),
    answer(500, { detail: 'API key invalid or expired' }),
    inside(null, 'Budget has been exceeded! Current cost: 11'),
    says(400, 'Access denied, please make sure your account is in good standing.'),
    says(403, 'The request failed because your account has an overdue balance.'),
    says(429, '您的账户已欠费，请充值后重试。'),
    says(400, 'API key not valid. Please pass a valid API key.'),
    says(403, 'Key limit exceeded (total limit)'),
    says(400, 'ExceededBudget: User=x over budget. Spend=1, Budget=1'),
    says(400, 'Your free trial has expired'),
    says(400, 'You do not have enough credits to run this request'),
    says(400, 'You have reached your specified API usage limits. You will regain access on 2026-12-01.'),
    says(400, 'wallet balance insufficient'),
    says(400, 'foo/bar is not a valid model ID'),
    says(400, 'Unsupported model: foo'),
    says(400, 'Model foo is not supported'),
    says(400, 'There are no healthy deployments for this model'),
    says(400, "The model 'llama' has been decommissioned and is no longer supported."),
    says(400, 'Project does not have access to model `gpt-5`'),
    says(400, 'Could not find model foo'),
    says(400, 'models/foo is not found for API version v1beta, or is not supported'),
    says(400, 'The provided model identifier is invalid.'),
    says(400, 'Server is pinned to qwen'),
    answer(400, { error: { message: 'Wrong value', param: 'model' } }),
    answer(422, { detail: [{ loc: ['body', 'model'], msg: 'value is not one of: qwen' }] }),
  ])('%j', (reply) => {
    expect(classifyFailure(reply)).toMatchObject({ kind: 'refused', names: 'account' });
  });
});

describe('a text that names the request is about the request, whatever the status', () => {
  test.each([
    says(500, 'the request exceeds the available context size. try increasing it'),
    says(503, "This model's maximum context length is 4096 tokens"),
    says(403, 'The request was flagged by our moderation'),
    says(
      429,
      'Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 45000.',
    ),
    inside('content_filter', 'The response was blocked by content_filter'),
    says(403, 'Input data may contain inappropriate content.'),
    says(403, 'Your input was flagged for "violence". No credits were charged.'),
  ])('%j', (reply) => {
    expect(classifyFailure(reply).names).toBe('request');
  });

  test.each([
    says(
      429,
      'Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000, Requested 4500.',
    ),
    says(429, 'Too many requests: the limit of requests is exceeded'),
    says(503, 'The server is overloaded, please retry your request later'),
    says(500, 'Internal server error'),
    says(400, 'max_tokens is not supported with this model. Use max_completion_tokens.'),
    says(400, 'Invalid model input: temperature must be a number'),
    says(400, 'This model does not support image input'),
    says(400, "Invalid schema for response_format 'payment': In context=(), 'x' is required"),
    says(400, 'The image at https://billing.example.com/a.png could not be loaded'),
    says(400, "tool 'find_account' not found in tools"),
    says(
      429,
      'Rate limit reached for requests. Please try again in 20s. Please add a payment method to your account.',
    ),
    answer(
      429,
      { error: { message: 'You exceeded your current quota, please check your plan. Please retry in 26s.' } },
      { retryAfterMs: 26_000 },
    ),
    says(429, 'Quota exceeded for generate_content_requests_per_minute_per_project'),
  ])('%j names neither the request nor the account', (reply) => {
    expect(classifyFailure(reply).names).toBe(null);
  });
});

test.each([
  [says(500, 'kaboom\n  twice'), '500: kaboom twice'],
  [answer(500, { detail: [{ msg: 'field required', type: 'missing' }] }), '500: field required (missing)'],
  [answer(400, { error: 'plain text' }), '400: plain text'],
  [
    answer(404, { error: { message: 'Not Found' } }, { asked: 'POST http://h/x' }),
    '404: Not Found (POST http://h/x)',
  ],
  [inside(null, 'out of memory'), '200: a success with a failure inside: out of memory'],
  [failure('reset'), 'm'],
] as const)('a reply is described in one line for people: %#', (reply, text) => {
  expect(classifyFailure(reply).text).toBe(text);
});
