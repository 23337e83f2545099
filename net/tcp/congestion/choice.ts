/**
 * Which congestion control a name means.
 *
 * @module
 */

import { Bbr } from "./bbr.ts";
import type { CongestionControl, CongestionName } from "./control.ts";
import { CubicControl } from "./cubic_control.ts";
import type { DeliveryRate } from "./delivery_rate.ts";
import type { Pacing } from "./pacing.ts";

/** Makes one for a connection. */
export function congestionControl(
  name: CongestionName,
  rate: DeliveryRate,
  pacing: Pacing,
): CongestionControl {
  return name === "bbr" ? new Bbr(rate, pacing) : new CubicControl(pacing);
}
