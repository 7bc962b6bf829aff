// Reads the expiry of a key: a strict pattern and a calendar check, in UTC unless a zone is given. Never Date.parse, which guesses.

const pattern =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?(?:Z|([+-])(\d{2}):?(\d{2}))?)?$/;

export const expiryForms = "YYYY-MM-DD or YYYY-MM-DDTHH:MM[:SS[.fraction]][Z or +HH:MM]";

/** @returns the moment in Unix milliseconds (date only = 00:00 UTC), or undefined when the text is none that exists */
export function parseExpiry(text: string): number | undefined {
  const match = pattern.exec(text);
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map((digits) => Number(digits ?? 0));
  const [fraction, sign, zoneHour, zoneMinute] = match.slice(7);
  if (!isDay(year!, month!, day!)) return undefined;
  if (hour! > 23 || minute! > 59 || second! > 59 || Number(zoneHour ?? 0) > 23 || Number(zoneMinute ?? 0) > 59)
    return undefined;
  const offsetMinutes = (Number(zoneHour ?? 0) * 60 + Number(zoneMinute ?? 0)) * (sign === "-" ? -1 : 1);
  const fractionMs = Number(`0.${fraction ?? 0}`) * 1000;
  return midnight(year!, month!, day!) + ((hour! * 60 + minute! - offsetMinutes) * 60 + second!) * 1000 + fractionMs;
}

/** Unlike Date.UTC this takes the years 0 to 99 as written. */
function midnight(year: number, month: number, day: number): number {
  return new Date(0).setUTCFullYear(year, month - 1, day);
}

function isDay(year: number, month: number, day: number): boolean {
  const date = new Date(midnight(year, month, day));
  return year > 0 && date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}
