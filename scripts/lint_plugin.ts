/**
 * House rules that no built-in lint rule covers: how error messages read, and that tests wait for
 * something rather than for a time.
 *
 * @module
 */

type Node = Deno.lint.Node;

const plugin: Deno.lint.Plugin = {
  name: "omerta",
  rules: {
    "error-message": {
      create(context): Deno.lint.LintVisitor {
        return {
          NewExpression(node): void {
            if (node.callee.type !== "Identifier" || !/Error$/.test(node.callee.name)) return;
            const message = node.arguments[node.callee.name === "OmertaError" ? 1 : 0];
            const text = literalEnds(message);
            if (text === undefined) return;
            if (/^[a-z]/.test(text.first)) {
              context.report({ node, message: "An error message begins with a capital letter" });
            }
            if (/\.$/.test(text.last)) {
              context.report({ node, message: "An error message has no full stop" });
            }
          },
        };
      },
    },
    "no-sleep-in-tests": {
      create(context): Deno.lint.LintVisitor {
        if (!/_test\.ts$|(^|[\\/])tests[\\/]/.test(context.filename)) return {};
        const message = "A test waits for a condition, not for a time";
        const hint = "Use until() of tests/support/until.ts, or an event";
        return {
          NewExpression(node): void {
            if (isSleep(node)) context.report({ node, message, hint });
          },
          ImportDeclaration(node): void {
            if (node.source.value !== "node:timers/promises") return;
            if (node.specifiers.some(importsSleep)) context.report({ node, message, hint });
          },
        };
      },
    },
  },
};

/**
 * Whether it is `new Promise((done) => setTimeout(done, ms))` or the same with blocks and arrows
 * around it: a promise that nothing but time fulfils. As a contender of `Promise.race` it is a limit,
 * and with 0 ms it lets others have a turn; neither is a sleep.
 */
function isSleep(node: Deno.lint.NewExpression): boolean {
  const executor = node.arguments[0];
  if (node.callee.type !== "Identifier" || node.callee.name !== "Promise") return false;
  if (executor?.type !== "ArrowFunctionExpression" && executor?.type !== "FunctionExpression") {
    return false;
  }
  const done = executor.params[0];
  const call = onlyExpression(executor.body);
  if (done?.type !== "Identifier" || call?.type !== "CallExpression") return false;
  if (call.callee.type !== "Identifier" || call.callee.name !== "setTimeout") return false;
  const [callback, ms] = call.arguments;
  if (ms === undefined || (ms.type === "Literal" && ms.value === 0)) return false;
  return isOrCalls(callback, done.name) && !isContender(node);
}

/** The one expression that a function's body consists of. */
function onlyExpression(body: Node | null | undefined): Node | undefined {
  if (body?.type !== "BlockStatement") return body ?? undefined;
  const statement = body.body.length === 1 ? body.body[0] : undefined;
  if (statement?.type === "ExpressionStatement") return statement.expression;
  return statement?.type === "ReturnStatement" ? statement.argument ?? undefined : undefined;
}

/** Whether a callback is the function `name`, or does nothing but call it. */
function isOrCalls(callback: Node | undefined, name: string): boolean {
  if (callback?.type === "Identifier") return callback.name === name;
  if (callback?.type !== "ArrowFunctionExpression") return false;
  const call = onlyExpression(callback.body);
  return call?.type === "CallExpression" && call.callee.type === "Identifier" &&
    call.callee.name === name;
}

function isContender(node: Deno.lint.NewExpression): boolean {
  const list: Node = node.parent;
  if (list.type !== "ArrayExpression") return false;
  const call: Node = list.parent;
  return call.type === "CallExpression" && call.callee.type === "MemberExpression" &&
    call.callee.property.type === "Identifier" &&
    /^(race|any)$/.test(call.callee.property.name);
}

function importsSleep(specifier: Deno.lint.ImportDeclaration["specifiers"][number]): boolean {
  return specifier.type === "ImportSpecifier" && specifier.imported.type === "Identifier" &&
    specifier.imported.name === "setTimeout";
}

function literalEnds(
  node: Node | undefined,
): { first: string; last: string } | undefined {
  if (node?.type === "Literal" && typeof node.value === "string") {
    return { first: node.value, last: node.value };
  }
  if (node?.type === "TemplateLiteral") {
    return { first: node.quasis[0]?.cooked ?? "", last: node.quasis.at(-1)?.cooked ?? "" };
  }
  return undefined;
}

export default plugin;
