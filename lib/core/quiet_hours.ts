/**
 * Times of the week in local time, as `22:00-07:00` or `sat,sun 00:00-24:00`.
 *
 * ```
 * range = [days " "] HH:MM "-" HH:MM        every day without days
 * days  = day or day-day, separated by ","  mon tue wed thu fri sat sun
 * ```
 *
 * A range whose end is not after its beginning goes over midnight and belongs to the day on which it
 * begins: `fri 22:00-07:00` ends on Saturday. The end itself is outside. What counts is the clock on
 * the wall: when it is put forward or back, a range is an hour shorter or longer.
 *
 * @module
 */

const DAY_NAMES = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;
const DAY = 24 * 60; // minutes
/** Minutes of a week. */
export const WEEK = 7 * DAY;

const RANGE_REGEXP =
  /^(?:([a-z]{3}(?:-[a-z]{3})?(?:,[a-z]{3}(?:-[a-z]{3})?)*) )?([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)$/;

/** A time of the week, as a clock and a calendar on the wall show it. */
export interface LocalTime {
  /** Day of the week: 0 is Sunday. */
  readonly day: number;
  /** Minutes since midnight. */
  readonly minute: number;
}

/** A time of day on some days of the week. */
export interface TimeRange {
  /** Days on which it begins, 0 is Sunday; each once, rising. */
  readonly days: readonly number[];
  /** When it begins, in minutes since midnight. */
  readonly from: number;
  /** How long it lasts, in minutes: 1 to 1440. */
  readonly length: number;
}

/** The time at this host's place. `at` is in ms since 1970. */
export function localTimeOf(at: number): LocalTime {
  const date = new Date(at);
  return { day: date.getDay(), minute: date.getHours() * 60 + date.getMinutes() };
}

/** Reads a range; undefined when it is none, or when it begins and ends at the same time. */
export function parseTimeRange(text: string): TimeRange | undefined {
  const match = RANGE_REGEXP.exec(text);
  if (!match) return undefined;
  const [, days, ...clock] = match;
  const [fromHour = 0, fromMinute = 0, toHour = 0, toMinute = 0] = clock.map(Number);
  const from = fromHour * 60 + fromMinute;
  const to = toHour * 60 + toMinute;
  if (from === to || to > DAY) return undefined;
  const chosen = parseDays(days);
  return chosen && { days: chosen, from, length: to > from ? to - from : to - from + DAY };
}

function parseDays(text: string | undefined): readonly number[] | undefined {
  if (text === undefined) return DAY_NAMES.map((_, day) => day);
  const days = new Set<number>();
  for (const part of text.split(",")) {
    const [first = -1, last = first] = part.split("-").map((name) =>
      DAY_NAMES.findIndex((day) => day === name)
    );
    if (first < 0 || last < 0) return undefined;
    for (let day = first;; day = (day + 1) % 7) {
      days.add(day);
      if (day === last) break;
    }
  }
  return [...days].sort((a, b) => a - b);
}

/**
 * How long it takes until a time is in no range, in minutes: 0 when it is in none, {@link WEEK} when
 * there is no such time.
 */
export function minutesLeft(ranges: readonly TimeRange[], { day, minute }: LocalTime): number {
  const now = day * DAY + minute;
  let left = 0;
  // Where one range ends another may go on.
  for (let more = 1; more > 0 && left < WEEK; left += more) {
    const at = now + left;
    more = Math.max(0, ...ranges.map((range) => leftOf(range, at)));
  }
  return Math.min(left, WEEK);
}

/** How long one range goes on at a minute of the week; 0 when it is not in it. */
function leftOf({ days, from, length }: TimeRange, at: number): number {
  let left = 0;
  for (const day of days) {
    const since = (at - day * DAY - from + 2 * WEEK) % WEEK;
    left = Math.max(left, length - since);
  }
  return left;
}

/** When `left` minutes from `now` is, in words: `07:00`, or `Mon 07:00` when a day or more is left. */
export function formatTimeAfter({ day, minute }: LocalTime, left: number): string {
  const at = (day * DAY + minute + left) % WEEK;
  const two = (value: number): string => String(value).padStart(2, "0");
  const clock = `${two(Math.floor(at % DAY / 60))}:${two(at % 60)}`;
  if (left < DAY) return clock;
  const name = DAY_NAMES[Math.floor(at / DAY)] ?? "";
  return `${name.charAt(0).toUpperCase()}${name.slice(1)} ${clock}`;
}
