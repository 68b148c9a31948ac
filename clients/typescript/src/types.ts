// The shapes of the bridge under short names. Where one member decides what another one is, the shape is a union: after
// `if (order.state === "question")` the compiler knows that `order.question` is not null.
import type { components } from "./schema.js";

type Schemas = components["schemas"];
type With<Shape, Members> = Omit<Shape, keyof Members> & Members;

export type Account = Schemas["Account"];
export type AccountEntry = Schemas["AccountEntry"];
export type AccountList = Schemas["AccountList"];
export type AssetClass = Schemas["AssetClass"];
export type Balance = Schemas["Balance"];
export type Bar = Schemas["Bar"];
export type Candidate = Schemas["Candidate"];
export type CheckedCredential = Schemas["CheckedCredential"];
export type Connection = Schemas["Connection"];
export type ConnectionKind = Schemas["ConnectionKind"];
export type ConnectionStep = Schemas["ConnectionStep"];
export type ConsumerMembers = Schemas["ConsumerMembers"];
export type CredentialMembers = Schemas["CredentialMembers"];
export type History = Schemas["History"];
export type Instrument = Schemas["Instrument"];
export type ImportedCredential = Schemas["ImportedCredential"];
export type InstrumentSearch = Schemas["InstrumentSearch"];
export type IssuedToken = Schemas["IssuedToken"];
export type MadeProfile = Schemas["MadeProfile"];
export type MadeProfileKey = Schemas["MadeProfileKey"];
export type NewConnection = Schemas["NewConnection"];
export type NewProfile = Schemas["NewProfile"];
export type OpenQuestion = Schemas["OpenQuestion"];
export type OrderChange = Schemas["OrderChange"];
export type OrderEventEntry = Schemas["OrderEventEntry"];
export type OrderState = Schemas["OrderState"];
export type OrderStatus = Schemas["OrderStatus"];
export type OrderTicket = Schemas["OrderTicket"];
export type Position = Schemas["Position"];
export type PositionList = Schemas["PositionList"];
export type Preview = Schemas["Preview"];
export type Problem = Schemas["Problem"];
export type ProfileList = Schemas["ProfileList"];
export type ProfileStatus = Schemas["ProfileStatus"];
export type Quote = Schemas["Quote"];
export type QuoteList = Schemas["QuoteList"];
export type ReturnedVerifier = Schemas["ReturnedVerifier"];
export type Scope = Schemas["Scope"];
export type Trade = Schemas["Trade"];
export type TradeList = Schemas["TradeList"];
/** All codes of errors that the bridge answers with. */
export type ProblemCode = Problem["code"];

/** What a user can do now; only a sign-in has an address. */
export type Action = { kind: "sign_in"; url: string } | { kind: "retry" | "wait" | "none"; url: null };

type ByState<Shape> =
  | With<Shape, { state: "question"; question: OpenQuestion }>
  | With<Shape, { state: "placed"; question: null }>
  | With<Shape, { state: "refused" | "rejected" | "unknown" | "not_placed"; question: null; error: string | null }>
  | With<Shape, { state: "sending"; question: null }>;

/** One order. Its `state` says whether IBKR has it, and `status` what became of it there. */
export type Order = ByState<Schemas["Order"]>;
export type OrderDetails = ByState<Schemas["OrderDetails"]>;
export type OrderList = With<Schemas["OrderList"], { orders: Order[] }>;

/** The session: either it is ready, or it says what the user can do and when to look again. */
export type Session =
  | With<Schemas["Session"], { ready: true; state: "ready"; action: Action; retry_after: null }>
  | With<Schemas["Session"], { ready: false; can_trade: false; action: Action }>;
