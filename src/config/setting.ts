// What one entry of the configuration table is, and the short forms it is written in. Holds no variable.
import type { Kind } from "./values.ts";

type Described = {
  readonly help: string;
  /** Never printed. */
  readonly secret?: true;
};
export type WithDefault<T> = Described & { readonly kind: Kind<T>; readonly default: string };
export type Derived<T> = Described & { readonly kind: Kind<T>; readonly derived: string };
export type Optional<T> = Described & { readonly kind: Kind<T>; readonly whenUnset?: string };
export type Obsolete = Described & { readonly obsolete: true };
export type Setting = WithDefault<unknown> | Derived<unknown> | Optional<unknown> | Obsolete;

/** A variable whose default is written as one would set it; "" reads as the empty list or text. */
export const setting = <T>(kind: Kind<T>, fallback: string, help: string): WithDefault<T> => ({
  kind,
  default: fallback,
  help,
});
/** A variable whose default depends on others; `derived` tells people how. */
export const derived = <T>(kind: Kind<T>, how: string, help: string): Derived<T> => ({ kind, derived: how, help });
/** A variable that is undefined unless set; `whenUnset` tells people what then happens. */
export const optional = <T>(kind: Kind<T>, help: string, whenUnset?: string): Optional<T> => ({
  kind,
  help,
  whenUnset,
});
export const obsolete = (help: string): Obsolete => ({ obsolete: true, help });
