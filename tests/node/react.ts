// In place of React: elements become HTML at once. It is enough for a page that is made on the server.
type Child = string | number | boolean | null | undefined | Child[];
type Properties = Record<string, unknown> | null;

declare global {
  namespace JSX {
    type Element = string;
    interface IntrinsicElements {
      [name: string]: Record<string, unknown>;
    }
  }
}

const text = (child: Child): string => {
  if (Array.isArray(child)) return child.map(text).join("");
  return child === null || child === undefined || typeof child === "boolean" ? "" : String(child);
};

const attribute = ([name, value]: [string, unknown]): string =>
  name === "key" ? "" : ` ${name}="${typeof value === "function" ? value.name : String(value)}"`;

export const React = {
  createElement: (name: string, properties: Properties, ...children: Child[]): string =>
    `<${name}${Object.entries(properties ?? {}).map(attribute).join("")}>${text(children)}</${name}>`,
};
