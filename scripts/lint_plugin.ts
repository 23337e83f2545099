/**
 * House rules that no built-in lint rule covers: how error messages read.
 *
 * @module
 */

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
  },
};

function literalEnds(
  node: Deno.lint.Node | undefined,
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
