import { countTokens } from 'gpt-tokenizer/encoding/o200k_base';
import { describe, expect, test } from 'vitest';

import { countTokensExactly } from './exact-tokens.ts';
import { inspectInput } from './inspect.ts';

const bodyOf = (content: unknown): string =>
  JSON.stringify({ model: 'm', messages: [{ role: 'user', content }] });
const lineOf = (body: string): Buffer =>
  Buffer.from(`{"custom_id":"a","method":"POST","url":"/chat/completions","body":${body}}\n`);
const estimate = async (body: string): Promise<number> => (await inspectInput([lineOf(body)])).tokens;
async function exact(body: string): Promise<number> {
  async function* chunks() {
    yield lineOf(body);
  }
  return countTokensExactly(chunks());
}
/** Python's `json.dumps` writes everything beyond ASCII like this. */
const escapeNonAscii = (json: string): string =>
  json.replaceAll(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

const SAMPLES: Record<string, string> = {
  English: `The night shift at the harbour begins when the last ferry has gone. Two people watch the cranes, one of them writes the log, and nobody expects much to happen before dawn. On Tuesday a container was set down in the wrong row, so the morning crew spent an hour looking for it. Since then every move is read back over the radio: which box, from where, to where. It is slower, but nothing has been lost in the four weeks since. Summarise the incident for the manager in three sentences, and say what should change before winter.`,
  Korean: `항구의 야간 근무는 마지막 여객선이 떠난 뒤에 시작됩니다. 두 사람이 크레인을 지켜보고, 그중 한 명이 일지를 적으며, 새벽까지 별일이 없으리라 생각합니다. 화요일에는 컨테이너 하나가 엉뚱한 줄에 놓여서 아침 근무자들이 한 시간 동안 찾아야 했습니다. 그 뒤로는 모든 이동을 무전으로 다시 읽어 확인합니다. 느리기는 하지만 지난 4주 동안 잃어버린 것은 없습니다. 이 일을 세 문장으로 요약하고 겨울이 오기 전에 무엇을 바꾸어야 하는지 말해 주세요.`,
  Japanese: `港の夜勤は、最後のフェリーが出たあとに始まります。二人がクレーンを見守り、そのうち一人が日誌をつけますが、夜明けまで大したことは起こらないと思っています。火曜日にコンテナが一つ違う列に置かれ、朝の当番が一時間も探すことになりました。それ以来、どの移動も無線で読み上げて確認しています。時間はかかりますが、この四週間で失われたものはありません。出来事を三つの文でまとめ、冬までに何を変えるべきか述べてください。`,
  Chinese: `港口的夜班在最后一班渡轮离开之后开始。两个人看着起重机，其中一个人写日志，谁也不觉得天亮之前会发生什么大事。星期二有一个集装箱被放错了位置，早班的人花了一个小时才找到它。从那以后，每一次移动都要通过无线电复述一遍：哪个箱子，从哪里，到哪里。这样虽然慢一些，但是四个星期以来没有丢过任何东西。请用三句话总结这件事，并说明冬天之前应该改变什么。`,
  German: `Die Nachtschicht im Hafen beginnt, wenn die letzte Fähre abgelegt hat. Zwei Leute beobachten die Kräne, einer von ihnen führt das Protokoll, und niemand erwartet, dass vor dem Morgengrauen viel geschieht. Am Dienstag wurde ein Container in der falschen Reihe abgesetzt, sodass die Frühschicht eine Stunde lang danach suchte. Seither wird jede Bewegung über Funk zurückgelesen. Das dauert länger, aber in den vier Wochen danach ging nichts verloren.`,
  French: `L'équipe de nuit du port commence quand le dernier ferry est parti. Deux personnes surveillent les grues, l'une d'elles tient le journal, et personne ne s'attend à ce qu'il se passe grand-chose avant l'aube. Mardi, un conteneur a été posé dans la mauvaise rangée et l'équipe du matin l'a cherché pendant une heure. Depuis, chaque déplacement est relu à la radio. C'est plus lent, mais rien n'a été perdu en quatre semaines.`,
  Vietnamese: `Ca đêm ở cảng bắt đầu khi chuyến phà cuối cùng đã rời bến. Hai người trông coi cần cẩu, một người ghi nhật ký, và không ai nghĩ rằng sẽ có chuyện gì lớn trước bình minh. Hôm thứ ba một thùng hàng bị đặt nhầm hàng nên ca sáng phải tìm suốt một giờ. Từ đó mọi lần di chuyển đều được đọc lại qua bộ đàm. Chậm hơn, nhưng bốn tuần nay không mất thứ gì.`,
  Russian: `Ночная смена в порту начинается, когда уходит последний паром. Два человека следят за кранами, один из них ведёт журнал, и никто не ждёт, что до рассвета что-нибудь случится. Во вторник контейнер поставили не в тот ряд, и утренняя смена искала его целый час. С тех пор каждое перемещение повторяют по радио. Это медленнее, зато за четыре недели ничего не пропало.`,
  Greek: `Η νυχτερινή βάρδια στο λιμάνι αρχίζει όταν φύγει το τελευταίο πλοίο. Δύο άνθρωποι παρακολουθούν τους γερανούς, ο ένας γράφει το ημερολόγιο, και κανείς δεν περιμένει να συμβεί κάτι πριν ξημερώσει. Την Τρίτη ένα κιβώτιο μπήκε σε λάθος σειρά και η πρωινή βάρδια το έψαχνε μία ώρα.`,
  Arabic: `تبدأ المناوبة الليلية في الميناء بعد مغادرة آخر عبارة. يراقب شخصان الرافعات ويكتب أحدهما السجل، ولا يتوقع أحد أن يحدث شيء مهم قبل الفجر. يوم الثلاثاء وضعت حاوية في الصف الخطأ فبحث عنها عمال الصباح ساعة كاملة. ومنذ ذلك الحين تقرأ كل حركة مرة أخرى عبر اللاسلكي.`,
  Hebrew: `משמרת הלילה בנמל מתחילה אחרי שהמעבורת האחרונה יצאה. שני אנשים משגיחים על העגורנים, אחד מהם כותב את היומן, ואיש אינו מצפה שיקרה משהו לפני עלות השחר. ביום שלישי הונחה מכולה בשורה הלא נכונה, ומשמרת הבוקר חיפשה אותה שעה שלמה.`,
  Hindi: `बंदरगाह पर रात की पाली आख़िरी नौका के जाने के बाद शुरू होती है। दो लोग क्रेन पर नज़र रखते हैं, उनमें से एक दैनिकी लिखता है, और किसी को नहीं लगता कि सुबह से पहले कुछ होगा। मंगलवार को एक कंटेनर ग़लत क़तार में रख दिया गया, इसलिए सुबह की पाली ने उसे एक घंटे तक ढूँढा।`,
  Thai: `กะกลางคืนที่ท่าเรือเริ่มขึ้นหลังจากเรือเที่ยวสุดท้ายออกไปแล้ว คนสองคนเฝ้าดูเครน คนหนึ่งจดบันทึก และไม่มีใครคิดว่าจะมีอะไรเกิดขึ้นก่อนรุ่งสาง วันอังคารตู้สินค้าตู้หนึ่งถูกวางผิดแถว กะเช้าจึงต้องหาอยู่หนึ่งชั่วโมง`,
  TypeScript: `export async function claim(queue: Queue, { owner, max }: Options): Promise<Segment[]> {
  const rows = await queue.db
    .selectFrom('segments')
    .where('owner', 'is', null)
    .orderBy('position', 'asc')
    .limit(max)
    .execute();
  if (rows.length === 0) return [];
  for (const row of rows) {
    row.epoch += 1; // every claim raises it
    row.claimedAt = Math.floor(clock.now() / 1000);
  }
  return rows.map((row) => ({ ...row, owner }));
}
`,
  Python: `import json
from pathlib import Path

def read_requests(path: Path, *, limit: int = 100_000) -> list[dict]:
    requests = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            if len(requests) >= limit:
                raise ValueError(f"{path}:{number}: more than {limit} requests")
            requests.append(json.loads(line))
    return requests
`,
  JSON: `{"order":{"id":"A-20418","customer":{"name":"Jane Doe","city":"Busan","vip":false},"lines":[{"sku":"KB-0042","title":"Keyboard, compact","quantity":2,"price":39.9},{"sku":"MS-0007","title":"Mouse","quantity":1,"price":12.5}],"shipping":{"method":"express","cost":4.95,"eta_days":2},"total":97.25,"currency":"EUR","notes":null}}`,
  Emoji: `Great job team 🎉🎉 shipping today 🚀 thanks @anna ❤️ see you at the party 🍕🥳 👩‍💻👨‍👩‍👧 don't be late ⏰ ✅ done`,
  Markdown: `## Release notes\n\n- **Faster** start: 1.8 s instead of 4.2 s\n- \`--dry-run\` prints what would change\n- Fixed #1183, #1190 and #1201\n\n| option | default |\n| --- | --- |\n| \`retries\` | 3 |\n| \`timeout\` | 30 s |\n\n1. Download the archive\n2. Unpack it to \`/opt\`\n3. Run \`install.sh\`\n`,
};

describe('the token estimate', () => {
  test.each(Object.entries(SAMPLES))('is within 16 percent of the exact count for %s', async (_, text) => {
    const [estimated, counted] = [await estimate(bodyOf(text)), await exact(bodyOf(text))];

    expect(Math.abs(estimated / counted - 1)).toBeLessThan(0.16);
  });

  test('is within 5 % of the exact count over all of these texts together', async () => {
    const body = bodyOf(Object.values(SAMPLES));

    expect(Math.abs((await estimate(body)) / (await exact(body)) - 1)).toBeLessThan(0.05);
  });

  test.each(Object.entries(SAMPLES))(
    'is the same whether %s is written as it is or in escapes',
    async (_, text) => {
      expect(await estimate(escapeNonAscii(bodyOf(text)))).toBe(await estimate(bodyOf(text)));
    },
  );

  test('counts an inline image by a flat figure, not by its letters', async () => {
    const image = (bytes: number) => [
      { type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(bytes)}` } },
    ];

    expect(await estimate(bodyOf(image(400_000)))).toBe(await estimate(bodyOf(image(4))));
    expect((await estimate(bodyOf(image(400_000)))) - (await estimate(bodyOf([])))).toBeGreaterThanOrEqual(
      765,
    );
  });

  test('counts text that only begins like an inline image by its letters', async () => {
    expect(await estimate(bodyOf('data: none so far'))).toBeLessThan(50);
  });

  test('counts the body and nothing around it', async () => {
    const body = bodyOf('Hello');
    const padded = Buffer.from(
      lineOf(body)
        .toString()
        .replace('"a"', `"${'a long name '.repeat(30)}"`),
    );

    expect((await inspectInput([padded])).tokens).toBe(await estimate(body));
  });

  test('counts a number as a token, since embeddings take token numbers for text', async () => {
    const input = (count: number) => `{"model":"m","input":[${Array(count).fill(9906).join(',')}]}`;

    expect((await estimate(input(500))) - (await estimate(input(100)))).toBe(400);
  });
});

/** Returns what a body costs without its content. */
const overhead = await exact(bodyOf(''));

describe('the exact count', () => {
  test('equals the tokenizer for text without unbroken runs', async () => {
    for (const text of Object.values(SAMPLES)) {
      expect((await exact(bodyOf(text))) - overhead).toBe(countTokens(text));
    }
  });

  test.each(['<|endoftext|>', '<|im_start|>system', '<|endofprompt|>'])(
    'counts %s as text',
    async (special) => {
      expect((await exact(bodyOf(special))) - overhead).toBeGreaterThan(5);
    },
  );

  test.each([
    ['letters', 'a'],
    ['Hangul', '가나다'],
    ['spaces', ' '],
    ['line ends', '\n'],
    ['punctuation', '!'],
    ['emoji', '😀'],
    ['special tokens', '<|endoftext|>'],
  ])('of 1 MB of %s without a break takes no longer than of prose', async (_, unit) => {
    const text = unit.repeat(1_000_000 / Buffer.byteLength(unit));
    const startMs = performance.now();

    const tokens = (await exact(bodyOf(text))) - overhead;

    expect(performance.now() - startMs).toBeLessThan(10_000);
    expect(tokens).toBeGreaterThan(1_000);
  });

  test('is linear in a file of ever new words, which the cache of the tokenizer cannot hold', async () => {
    const words = Array.from({ length: 150_000 }, (_, index) => `q${(index * 7_919).toString(36)}z`).join(
      ' ',
    );
    const startMs = performance.now();

    await exact(bodyOf(words));
    await exact(bodyOf('<|endoftext|>'.repeat(20_000)));

    expect(performance.now() - startMs).toBeLessThan(10_000);
  });

  test('a run cut at 512 characters is off by less than 1 %', async () => {
    const run = '가나다라마바사'.repeat(300);

    const counted = (await exact(bodyOf(run))) - overhead;

    expect(Math.abs(counted / countTokens(run) - 1)).toBeLessThan(0.01);
  });
});
