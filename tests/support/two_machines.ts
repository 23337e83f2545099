/**
 * A lender and a borrower on two networks, joined by a router.
 *
 * @module
 */

import { type Namespace, NetLab } from "../netlab/netlab.ts";
import { Home } from "./home.ts";

/** The lender's address. */
export const LENDER = "192.168.1.100";
/** The borrower's address. */
export const BORROWER = "192.168.2.7";

/** Two machines and their users. */
export interface TwoMachines extends AsyncDisposable {
  /** What they are part of, for more machines. */
  readonly lab: NetLab;
  /** The router between them: 192.168.1.1 and 192.168.2.1. */
  readonly router: Namespace;
  /** The lender's machine. */
  readonly lenderMachine: Namespace;
  /** The borrower's machine. */
  readonly borrowerMachine: Namespace;
  /** The lender. */
  readonly lender: Home;
  /** The borrower. */
  readonly borrower: Home;
}

/** Three namespaces: 192.168.1.0/24, a router, 192.168.2.0/24; a home on each outer one. */
export async function twoMachines(): Promise<TwoMachines> {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await NetLab.create());
  const router = await lab.router("router");
  const lenderMachine = await lab.namespace("lender");
  const borrowerMachine = await lab.namespace("borrower");
  await lab.connect(lenderMachine, `${LENDER}/24`, router, "192.168.1.1/24");
  await lab.connect(borrowerMachine, `${BORROWER}/24`, router, "192.168.2.1/24");
  await lenderMachine.route("add", "default", "via", "192.168.1.1");
  await borrowerMachine.route("add", "default", "via", "192.168.2.1");
  const lender = stack.use(await Home.create(lenderMachine));
  const borrower = stack.use(await Home.create(borrowerMachine));
  const owned = stack.move();
  return {
    lab,
    router,
    lenderMachine,
    borrowerMachine,
    lender,
    borrower,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Hands the lender's link to the borrower, as people do. */
export async function shareLink({ lender, borrower }: TwoMachines): Promise<string> {
  const link = (await lender.ok("key", "share", "--host", LENDER)).trim();
  await borrower.ok("key", "import", link);
  return link;
}
