import assert from "node:assert/strict";
import fc from "fast-check";
import {
  formatTimeAfter,
  type LocalTime,
  localTimeOf,
  minutesLeft,
  parseTimeRange,
  type TimeRange,
  WEEK,
} from "./quiet_hours.ts";

const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

function range(text: string): TimeRange {
  const parsed = parseTimeRange(text);
  assert.ok(parsed, text);
  return parsed;
}

/** `fri 23:59` as a time of the week. */
function at(text: string): LocalTime {
  const [day = "", clock = ""] = text.split(" ");
  const [hour, minute] = clock.split(":").map(Number);
  return { day: DAYS.indexOf(day), minute: (hour ?? 0) * 60 + (minute ?? 0) };
}

const left = (ranges: string[], when: string): number => minutesLeft(ranges.map(range), at(when));

Deno.test("parseTimeRange() takes a time of day, on every day or on some", () => {
  assert.deepEqual(range("22:00-07:00"), { days: [0, 1, 2, 3, 4, 5, 6], from: 1320, length: 540 });
  assert.deepEqual(range("sat,sun 00:00-24:00"), { days: [0, 6], from: 0, length: 1440 });
  assert.deepEqual(range("mon-fri 09:00-17:30").days, [1, 2, 3, 4, 5]);
  assert.deepEqual(range("fri-mon,mon 09:00-10:00").days, [0, 1, 5, 6], "over the weekend, once");
  assert.equal(range("22:00-00:00").length, 120);
});

Deno.test.each([
  [""],
  ["22-7"],
  ["22:00"],
  ["22:00-7:00"],
  ["24:00-07:00"],
  ["22:60-07:00"],
  ["22:00-24:01"],
  ["22:00-25:00"],
  ["22:00 - 07:00"],
  ["22:00-22:00"],
  ["00:00-00:00"],
  ["Mon 22:00-07:00"],
  ["day 22:00-07:00"],
  ["mon, tue 22:00-07:00"],
  ["mon-day 22:00-07:00"],
  ["mon  22:00-07:00"],
  [" 22:00-07:00"],
  ["22:00-07:00\n"],
])("parseTimeRange() refuses '%s'", (text) => {
  assert.equal(parseTimeRange(text), undefined);
});

Deno.test("minutesLeft() counts to the end of the range, which is outside", () => {
  assert.equal(left(["22:00-07:00"], "mon 21:59"), 0);
  assert.equal(left(["22:00-07:00"], "mon 22:00"), 540);
  assert.equal(left(["22:00-07:00"], "sat 23:30"), 450, "over the end of the week");
  assert.equal(left(["22:00-07:00"], "sun 06:59"), 1);
  assert.equal(left(["22:00-07:00"], "sun 07:00"), 0);
});

Deno.test("minutesLeft() gives a night to the day on which it begins", () => {
  assert.equal(left(["fri 22:00-07:00"], "sat 06:00"), 60);
  assert.equal(left(["fri 22:00-07:00"], "fri 06:00"), 0);
  assert.equal(left(["fri 22:00-07:00"], "sat 22:00"), 0);
});

Deno.test("minutesLeft() goes on where the next range begins", () => {
  assert.equal(left(["22:00-00:00", "00:00-07:00"], "wed 22:00"), 540);
  assert.equal(left(["sat,sun 00:00-24:00", "22:00-07:00"], "fri 23:00"), 2 * 1440 + 480);
  assert.equal(left(["00:00-24:00"], "wed 12:00"), WEEK, "there is no other time");
  assert.equal(left([], "wed 12:00"), 0);
});

Deno.test("formatTimeAfter() names the day when a day or more is left", () => {
  assert.equal(formatTimeAfter(at("mon 22:00"), 540), "07:00");
  assert.equal(formatTimeAfter(at("sat 23:00"), 60), "00:00");
  assert.equal(formatTimeAfter(at("fri 23:00"), 2 * 1440 + 480), "Mon 07:00");
});

Deno.test("localTimeOf() is what the clock on the wall shows", () => {
  assert.deepEqual(localTimeOf(new Date(2026, 0, 4, 23, 59, 59).getTime()), at("sun 23:59"));
});

const clock = fc.integer({ min: 0, max: 1439 });
const twoDigits = (value: number): string => String(value).padStart(2, "0");
const anyRange = fc.record({
  days: fc.uniqueArray(fc.integer({ min: 0, max: 6 }), { minLength: 1 }),
  from: clock,
  to: clock,
}).filter(({ from, to }) => from !== to);

/** Whether a minute of the week is in a range, from its words alone. */
function isIn(
  { days, from, to }: { days: number[]; from: number; to: number },
  at: number,
): boolean {
  const day = Math.floor(at / 1440);
  const minute = at % 1440;
  if (from < to) return days.includes(day) && from <= minute && minute < to;
  return (days.includes(day) && minute >= from) ||
    (days.includes((day + 6) % 7) && minute < to);
}

Deno.test("minutesLeft() agrees with looking at every minute, over midnight and in any order", () => {
  fc.assert(fc.property(
    fc.array(anyRange, { maxLength: 4 }),
    fc.integer({ min: 0, max: WEEK - 1 }),
    (wanted, now) => {
      const ranges = wanted.map(({ days, from, to }) => {
        const time = (value: number): string =>
          `${twoDigits(Math.floor(value / 60))}:${twoDigits(value % 60)}`;
        return range(`${days.map((day) => DAYS[day]).join(",")} ${time(from)}-${time(to)}`);
      });
      let expected = 0;
      while (expected < WEEK && wanted.some((one) => isIn(one, (now + expected) % WEEK))) {
        expected++;
      }
      const time = { day: Math.floor(now / 1440), minute: now % 1440 };
      assert.equal(minutesLeft(ranges, time), expected);
      assert.equal(minutesLeft(ranges.toReversed(), time), expected);
    },
  ));
});

Deno.test("parseTimeRange() never throws on any text", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    parseTimeRange(text);
  }));
});
