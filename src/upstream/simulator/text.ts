import { between, pick, type Random } from './random.ts';

/** The simulator says these. Each text begins with `[simulated]`, so that nobody takes it for a model's. */
export function simulatedText(question: string, random: Random): string {
  const known = KNOWN[normalize(question)];
  if (known !== undefined) return `[simulated] ${known}`;
  const quoted = question.length > 120 ? `${question.slice(0, 119).toWellFormed()}…` : question;
  if (/[\uac00-\ud7a3]/.test(quoted))
    return `[simulated] 질문: “${quoted}” 여기에 모델의 답이 들어갑니다. 배포에 모델 서버를 연결하면 실제 답을 받을 수 있습니다.`;
  const sentences = Array.from({ length: between(random, 1, 3) }, () => pick(random, SENTENCES));
  const asked = quoted === '' ? '' : `You asked: “${quoted}” `;
  return `[simulated] ${asked}${[...new Set(sentences)].join(' ')}`;
}

const normalize = (question: string): string =>
  question.length > 60
    ? ''
    : question
        .toLowerCase()
        .replace(/[?.!\s]+$/, '')
        .trim();

/** These answer the questions of examples/test.jsonl. */
const KNOWN: Readonly<Record<string, string>> = {
  'when was microsoft founded':
    'Microsoft was founded on April 4, 1975, by Bill Gates and Paul Allen in Albuquerque, New Mexico.',
  'when was the first xbox released': 'The first Xbox was released on November 15, 2001, in North America.',
  'what is altair basic':
    'Altair BASIC was a BASIC interpreter for the MITS Altair 8800, written in 1975 by Bill Gates, Paul Allen and ' +
    'Monte Davidoff. It was the first product of Microsoft.',
};

const SENTENCES = [
  'A model’s answer would stand here.',
  'Point the deployment at a model server to get a real answer.',
  'The same request always gets this same text.',
  'Nothing was looked up to write this, so there is nothing in it to rely on.',
  'The usage figures below are estimates, as good as a quarter of the characters.',
] as const;
