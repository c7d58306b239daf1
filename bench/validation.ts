import { inspectInput } from '../src/batch/validate/inspect.ts';
import { type Measurement, median } from './measurement.ts';

const LINES = 20_000;
const ROUNDS = 15;
const CHUNK_BYTES = 256 * 1024;

/** Measures the one pass of validation against a bare `JSON.parse` of each line, over the same English and Korean file. */
export async function run(): Promise<Measurement> {
  const file = makeInput(LINES);
  const megabytes = file.length / 1e6;
  const ours: number[] = [];
  const yardstick: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(megabytes / (await secondsOf(() => inspectInput(chunksOf(file)))));
    yardstick.push(megabytes / (await secondsOf(() => parseEachLine(file))));
  }
  // Each round has its own ratio, so that a slow moment of the machine weighs on both sides.
  const ratio = median(ours.map((mbps, round) => mbps / (yardstick[round] ?? Number.NaN)));
  return {
    name: 'validation against JSON.parse of each line',
    unit: 'MB/s',
    ours: median(ours),
    yardstick: median(yardstick),
    ratio,
    goal: { ratio: 0.8, at: 'least' },
  };
}

async function secondsOf(work: () => unknown): Promise<number> {
  const startMs = performance.now();
  await work();
  return (performance.now() - startMs) / 1000;
}

function parseEachLine(file: Buffer): void {
  let parsed = 0;
  for (let start = 0; start < file.length;) {
    const end = file.indexOf(0x0a, start);
    if (JSON.parse(file.subarray(start, end).toString()) !== null) parsed++;
    start = end + 1;
  }
  if (parsed !== LINES) throw new Error(`parsed ${parsed} lines of ${LINES}`);
}

function* chunksOf(file: Buffer): Generator<Buffer> {
  for (let start = 0; start < file.length; start += CHUNK_BYTES)
    yield file.subarray(start, start + CHUNK_BYTES);
}

/** Makes lines of about 1.8 kB, half of them English and half Korean. Every run has the same lines. */
function makeInput(lines: number): Buffer {
  const random = lehmer(42);
  const parts: string[] = [];
  for (let line = 0; line < lines; line++) {
    const words = line % 2 === 0 ? ENGLISH : KOREAN;
    const wordsWanted = (line % 2 === 0 ? 270 : 165) * (0.5 + random());
    const content: string[] = [];
    for (let word = 0; word < wordsWanted; word++) {
      content.push(words[Math.floor(random() * words.length)] ?? '', random() < 0.03 ? '\n' : ' ');
    }
    parts.push(
      JSON.stringify({
        custom_id: `task-${line}`,
        method: 'POST',
        url: '/chat/completions',
        body: {
          model: 'gpt-4o-batch',
          messages: [
            { role: 'system', content: 'You are an AI assistant that helps people find information.' },
            { role: 'user', content: content.join('') },
          ],
          max_tokens: 500,
          temperature: 0.2,
        },
      }),
      '\n',
    );
  }
  return Buffer.from(parts.join(''));
}

const ENGLISH =
  'the of and to in a is that for it was as with be by on not he his but at are this have from or had an they which one you were all her she there would their "quoted" founded company answer question (however) technology 2024 3.14 people information, process; government between important'.split(
    ' ',
  );
const KOREAN =
  '그리고 마이크로소프트는 언제 설립되었나요 사람들은 정보를 찾기 위해 그는 집에서 나와 학교로 갔다 대한민국의 수도는 서울이며 인공지능 모델을 사용하여 데이터를 분석합니다. 다음 문장을 "요약" 해 주세요, 2024년 10월에 GPT-4o 배포가 완료되었습니다 있는 것을 한다 때문에'.split(
    ' ',
  );

/** Returns the same numbers in every run. */
function lehmer(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}
