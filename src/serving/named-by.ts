import { paramOf } from '../upstream/error-words.ts';
import type { ClassifiedFailure } from './failure.ts';

/** These speak of the account, its money and its keys. */
const ACCOUNT = [
  /insufficient[_ ](quota|funds|(account )?balance|credits?)/i,
  /\b(credit|account) balance\b|\bbalance\b.{0,30}\b(insufficient|low|not enough|exhausted|empty|negative)\b/i,
  /\bbalance is not\b|\b(not enough|low|negative|overdue) balance\b|\boverdue\b|\barrear(s|age)?\b|\bgood standing\b/i,
  /\b(out of|no|not enough|n't have enough|not have enough|more|insufficient) (credits?|funds)\b/i,
  /\bcredits?\b.{0,20}\b(exhausted|depleted|used up|run out)\b/i,
  /\bbilling\b|\bpayments?\b|\bprepaid\b|\bunpaid\b|\bpast due\b|\btop[ -]up\b|\brecharge\b/i,
  /\b(exceeded|reached|hit) (your|the) ([a-z]+ )?([a-z]+ )?(quota|spend(ing)?|budget|usage|credits?)\b/i,
  /\b(budget|spend(ing)? limit|hard limit|quota|usage limits?|key limit) (has been |was |is )?(exceeded|reached|exhausted)/i,
  /\bover (its |the |your )?budget\b|\b(budget[_ ]?exceeded|exceeded[_ ]?budget)/i,
  /\b(trial|subscription|plan|licen[cs]e)\b.{0,20}\b(expired|ended|is over|does not include|doesn't include)\b/i,
  /\b(invalid|incorrect|expired|missing|revoked|disabled|wrong|no) (api|access|subscription|authentication)[ _-]?(key|token)/i,
  /\b(api|access|subscription)[ _-]?key\b.{0,40}\b(invalid|incorrect|expired|missing|revoked|disabled|required|not (valid|found|provided|allowed))/i,
  /\b(account|organi[sz]ation|subscription|project|workspace)\b.{0,40}\b(deactivated|disabled|suspended|blocked|terminated|not found|not active|inactive|expired)/i,
  /\bunauthori[sz]ed\b|\bunauthenticated\b|\bauthentication (failed|error|required)\b/i,
  /欠费|余额不足|充值|잔액이? ?부족/,
] as const;

/** These speak of a model that is not there, or that the account may not use. */
const MODEL = [
  /\bmodel[_ ]not[_ ](found|loaded|available|exists?)\b|\bDeploymentNotFound\b|\bModelNotFound/i,
  /\b(invalid|unknown|unrecogni[sz]ed|unsupported|wrong) model\b(?! (input|output|param|argument|setting|response|role))/i,
  /\b(invalid value for ['"`]?model|not a valid model|server is pinned to|body\.model:)/i,
  /\bno (such )?models?\b.{0,30}\b(loaded|found|available|running|exists?|deployed)\b|\bno such (model|adapter|lora)\b/i,
  /\bno (healthy |available )?(deployments?|endpoints?|workers?|instances?|adapters?) (found |available |named |called )?(for|named|called)\b/i,
  /\b(models?|deployment|engine|adapter|lora)\b.{0,120}\b(does not exist|doesn't exist|do not exist|not found|not loaded|is unavailable|no longer (exists|available)|has been (deprecated|retired|removed|unloaded|decommissioned|discontinued|shut down))/i,
  /\b(models?|deployment|engine)\b.{0,120}\b(is not|isn't) (currently )?(loaded|available|served|running|deployed|accessible|allowed)\b/i,
  /(?<!\b(for|with|by|of|on) (this|the|your) )\bmodel\b:? ?\S{0,100} is not (currently )?supported\b(?! (with|for|in|by|when))/i,
  /\bmodel (id|identifier|name)\b:? ?\S{0,100} (is )?(invalid|wrong|unknown|not valid|malformed)\b/i,
  /\baccess to (the |this )?model\b|\b(access|find|locate|load|resolve) (the |requested |this )*model\b/i,
] as const;

/** These speak of the request alone: its length, or what it asks for. */
const REQUEST = [
  /context[_ ]?(length|size|window)|max[_ ]?model[_ ]?len|maximum (context|input|prompt|sequence) length/i,
  /\b(request|prompt|input|message|payload|body|content)s?\b.{0,40}\btoo (large|long|big)\b/i,
  /\btoo (large|long|big)\b.{0,20}\b(request|prompt|input|payload|body)\b/i,
  /\b(prompt|input)\b.{0,40}\b(exceeds?|exceeded|longer than|larger than)\b.{0,60}\b(tokens?|length|maximum|limit)\b/i,
  /moderation|\bflagged\b|content[_ ]?(filter|policy|management)|responsible ?ai|safety (system|policy|filter)|jailbreak/i,
  /\b(inappropriate|prohibited|unsafe|harmful|sensitive) (content|input|words?|material)\b|\bDataInspection|\bcontent (exists )?risk\b/i,
] as const;

/** `Limit 30000, Requested 45000` asks for more than there can ever be, whatever the pace. */
const LIMIT_REQUESTED = /\blimit\D{0,4}([\d,]{1,15}).{0,60}?\brequested\D{0,4}([\d,]{1,15})/i;

/** A quota of so many a minute is a pace. An offer to pay for a faster one does not make it a refusal. */
const PACE =
  /\bper[ _-]?(second|minute|hour|day)\b|_per_(second|minute|day)|\brate[ _-]?limit|\b[rt]p[md]\b/i;

/** Names that somebody chose, and addresses, say nothing of the account. */
const CHOSEN = /(['"`])[^\s'"`]*\1|https?:\/\/\S+/g;

/** Whom the text of an answer names; null: neither the request nor the account. */
export function namedBy({
  kind,
  text,
  retryAfterMs,
  body,
}: Pick<ClassifiedFailure, 'kind' | 'text' | 'retryAfterMs'> & {
  readonly body: Uint8Array;
}): ClassifiedFailure['names'] {
  const asks = LIMIT_REQUESTED.exec(text);
  if (asks !== null && toNumber(asks[2]) > toNumber(asks[1])) return 'request';
  if (kind === 'throttled') {
    if (/\brequest too large\b/i.test(text)) return 'request';
    if (/insufficient[_ ]quota/i.test(text)) return 'account';
    const isPace = retryAfterMs !== null || PACE.test(text);
    return !isPace && isOf(ACCOUNT, text.replaceAll(CHOSEN, '')) ? 'account' : null;
  }
  if (isOf(REQUEST, text)) return 'request';
  if (isOf(ACCOUNT, text.replaceAll(CHOSEN, '')) || isOf(MODEL, text)) return 'account';
  if (paramOf(body) === 'model') return 'account';
  return /^(401|402|407)\b/.test(text) ? 'account' : null;
}

const isOf = (patterns: readonly RegExp[], text: string): boolean =>
  patterns.some((pattern) => pattern.test(text));

const toNumber = (digits: string | undefined): number => Number(digits?.replaceAll(',', ''));
