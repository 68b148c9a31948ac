// IBKR Bridge for TypeScript, version 0.1.0: the package @ibkr-bridge/client as one file, without its React hooks.
// The bridge serves it at GET /client.ts. Save it as lib/bridge.ts and write: export const bridge = createBridge();
// It belongs on the app's server: the key must never reach a browser.

// Generated from docs/openapi.json by `npm run generate`; do not edit.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * Account
         * @description One account with its balances, in its base currency.
         */
        Account: {
            /**
             * Format: date-time
             * @description When IBKR gave these figures.
             */
            as_of: string;
            /** @description Whether newer figures exist or may exist: the source is lost, delayed or closed. */
            stale: boolean;
            /**
             * @description An account number at IBKR.
             * @example DU1234567
             */
            id: string;
            title: string | null;
            currency: string | null;
            kind: components["schemas"]["AccountKind"];
            /** @description Cash and the value of all positions. */
            net_liquidation: string | null;
            /** @description Cash of all currencies together. */
            cash: string | null;
            cash_by_currency: components["schemas"]["CashBalance"][];
            buying_power: string | null;
            available_funds: string | null;
            excess_liquidity: string | null;
            initial_margin: string | null;
            maintenance_margin: string | null;
            /** @description Value of all positions. */
            positions_value: string | null;
            /** @description Profit and loss since the last close. */
            day_pnl: string | null;
            /** @description Profit and loss of the open positions. */
            unrealized_pnl: string | null;
            /** @description Profit and loss of what was closed today. */
            realized_pnl: string | null;
        };
        /**
         * AccountEntry
         * @description One account of the login.
         */
        AccountEntry: {
            /**
             * @description An account number at IBKR.
             * @example DU1234567
             */
            id: string;
            /** @description The name of the account at IBKR. */
            title: string | null;
            /** @description Its base currency. */
            currency: string | null;
            kind: components["schemas"]["AccountKind"];
        };
        /**
         * AccountKind
         * @description Whether an account trades with real money.
         * @enum {string}
         */
        AccountKind: "live" | "paper" | "unknown";
        /**
         * AccountList
         * @description The accounts of the login.
         */
        AccountList: {
            /**
             * Format: date-time
             * @description When IBKR gave these figures.
             */
            as_of: string;
            /** @description Whether newer figures exist or may exist: the source is lost, delayed or closed. */
            stale: boolean;
            accounts: components["schemas"]["AccountEntry"][];
        };
        /**
         * AccountStatus
         * @description One account of the login.
         */
        AccountStatus: {
            /** @description The masked account number. */
            account: string;
            /** @description `paper`, `live` or `unknown`. */
            kind: string;
        };
        /**
         * Action
         * @description What a user can do now.
         */
        Action: {
            kind: components["schemas"]["ActionKind"];
            /** @description The page at which to sign in; null for every other kind. */
            url: string | null;
        };
        /**
         * ActionKind
         * @description What a user can do.
         * @enum {string}
         */
        ActionKind: "none" | "retry" | "sign_in" | "wait";
        /**
         * AssetClass
         * @description The class of an instrument.
         * @enum {string}
         */
        AssetClass: "bond" | "cfd" | "combination" | "crypto" | "currency" | "etf" | "fund" | "future" | "future_option" | "index" | "option" | "other" | "stock" | "warrant";
        /**
         * Audience
         * @description What a token opens.
         * @enum {string}
         */
        Audience: "api" | "page";
        /**
         * AuthStatus
         * @description Whether the brokerage session is open. The members after the first one are sent only if they say something.
         */
        AuthStatus: {
            /** @description Whether the brokerage session is open. */
            authenticated: boolean;
            /** @description Why it is not open, as a code. */
            reason?: string;
            /** @description What a person should do now. */
            hint?: string;
            /**
             * Format: date-time
             * @description When the session came into this state.
             */
            since?: string;
            /** @description IBKR's own words about the session; only with `verbose=1`. */
            ibkr_message?: string;
        };
        /**
         * AvailabilityFigures
         * @description How much of the trading hours the session was ready.
         */
        AvailabilityFigures: {
            /** @description Seconds of trading hours of US stocks since the history began. */
            trading_s: number;
            /** @description Seconds of them in which the session was ready. */
            ready_s: number;
            /** @description The part of them, 0 to 1; null if there were none. */
            ready_share: number | null;
            /** @description How often a ready session was lost, at any hour. */
            losses: number;
            /** @description Mean seconds until it was ready again; null if that has not happened. */
            mean_repair_s: number | null;
            /** @description The figures in one line, for a person. */
            text: string;
        };
        /**
         * Balance
         * @description The balance of one account in a few figures.
         */
        Balance: {
            /**
             * Format: date-time
             * @description When IBKR gave these figures.
             */
            as_of: string;
            /** @description Whether newer figures exist or may exist: the source is lost, delayed or closed. */
            stale: boolean;
            /**
             * @description An account number at IBKR.
             * @example DU1234567
             */
            account: string;
            currency: string | null;
            /** @description Net liquidation value: cash and all positions. */
            balance: string | null;
            net_liquidation: string | null;
            cash: string | null;
            available_funds: string | null;
            buying_power: string | null;
        };
        /**
         * Bar
         * @description One bar of a price history.
         */
        Bar: {
            /**
             * Format: date-time
             * @description When the bar begins.
             */
            start: string;
            /** Format: decimal */
            open: string;
            /** Format: decimal */
            high: string;
            /** Format: decimal */
            low: string;
            /** Format: decimal */
            close: string;
            /** @description In units. */
            volume: string | null;
        };
        /**
         * Bracket
         * @description Orders that close the position once the order has filled; when one fills, IBKR cancels the other.
         */
        Bracket: {
            /** @default null */
            take_profit?: (string | number) | null;
            /** @default null */
            stop_loss?: (string | number) | null;
        };
        /**
         * BridgeHistory
         * @description What has happened to the bridge and the session of one profile.
         */
        BridgeHistory: {
            profile: string;
            /** Format: date-time */
            from: string;
            /** Format: date-time */
            to: string;
            /** @description Of the whole period. */
            availability: components["schemas"]["AvailabilityFigures"];
            days: components["schemas"]["Day"][];
            /** @description The states of the session in their order, the latest 5000 at most. */
            states: components["schemas"]["SessionSpan"][];
            /** @description The latest thousand at most, in the order of their beginnings. */
            conditions: components["schemas"]["PastCondition"][];
            /** @description The number of the latest change, for `after` of the changes. */
            revision: number;
            /** @description Why the history is missing here or not complete; else null. */
            problem: string | null;
        };
        /**
         * BridgeHistoryChanges
         * @description The conditions that have begun or ended since a reader asked last.
         */
        BridgeHistoryChanges: {
            /** @description In the order of their changes. */
            changes: components["schemas"]["PastCondition"][];
            /** @description The number of the latest one that is listed: the next `after`. */
            revision: number;
            /** @description The number of the latest change of all: below `after`, it is a new history. */
            latest: number;
            /** @description Why changes may be missing; else null. */
            problem: string | null;
        };
        /**
         * BudgetStatus
         * @description The limit of all calls together.
         */
        BudgetStatus: {
            /** @description How many calls count against it now. Unit: calls. */
            used: number;
            /** @description How many may be sent in one period. Unit: calls. */
            limit: number;
            /** @description Length of the period. Unit: s. */
            period_s: number;
        };
        /**
         * CacheStatus
         * @description How many reads needed no call of their own.
         */
        CacheStatus: {
            /** @description Reads that were looked up since the start. Unit: reads. */
            lookups: number;
            /** @description Of these, reads that were answered from the cache. Unit: reads. */
            hits: number;
            /** @description Of these, reads that got the response of another one. Unit: reads. */
            shared: number;
            /** @description Hits and shared reads, by all lookups; null before the first. Unit: 0 to 1. */
            hit_rate: number | null;
            /** @description Responses in the cache now. Unit: responses. */
            entries: number;
            /** @description Size of these responses. Unit: bytes. */
            bytes: number;
        };
        /**
         * Candidate
         * @description An instrument that a symbol may stand for.
         */
        Candidate: {
            /**
             * @description IBKR's number of an instrument.
             * @example 265598
             */
            conid: number;
            symbol: string;
            name: string | null;
            asset_class: components["schemas"]["AssetClass"];
            exchange: string | null;
            expiry: string | null;
        };
        /**
         * CashBalance
         * @description The cash of an account in one currency.
         */
        CashBalance: {
            /**
             * @description ISO 4217 code of a currency.
             * @example USD
             */
            currency: string;
            cash: string | null;
            settled_cash: string | null;
            /** @description One unit in the base currency of the account. */
            exchange_rate: string | null;
        };
        /**
         * CheckedCredential
         * @description What is wrong with a credential.
         */
        CheckedCredential: {
            /** @description The profile. */
            name: string;
            /** @description Whether IBKR accepts it. */
            good: boolean;
            /** @description The part that is wrong; null if nothing shows one. */
            artefact: string | null;
            /** @description What was found. */
            text: string;
            /** @description What to do. */
            do: string;
        };
        /**
         * Condition
         * @description Something that a person may have to know now.
         */
        Condition: {
            /** @description What it is, as a code. */
            id: string;
            /** @description `critical`, `warning` or `notice`. */
            severity: string;
            /** Format: date-time */
            since: string;
            /** @description What is the case, for an operator. */
            text: string;
            /** @description What the operator should do. */
            do: string;
            /** @description Where to do it; null if there is no such place. */
            url: string | null;
        };
        /**
         * Connection
         * @description How far the connection of a profile is. Nothing in it is secret.
         */
        Connection: {
            /** @description The profile. */
            name: string;
            step: components["schemas"]["ConnectionStep"];
            /** @description `gateway`, `oauth1a`, `oauth1a-third-party` or `oauth2`; null before anything is stored. */
            kind: string | null;
            /** @description What can be begun here. */
            kinds: components["schemas"]["ConnectionKind"][];
            /** @description What is the case, for the user of an app. */
            message: string;
            /** @description What the user should do. */
            todo: string;
            /** @description The page for this step, at IBKR; null if there is none. */
            page: string | null;
            /** @description The public files to upload, by name. */
            files: {
                [key: string]: string;
            };
            /**
             * Format: date-time
             * @description When this step began, or the session changed.
             */
            since: string;
            /** @description When the bridge asks IBKR again, while it activates the keys; else null. */
            next_try: string | null;
        };
        /**
         * ConnectionKind
         * @description How a user gives access.
         * @enum {string}
         */
        ConnectionKind: "oauth1a" | "oauth1a-third-party";
        /**
         * ConnectionStep
         * @description How far a user is.
         * @enum {string}
         */
        ConnectionStep: "activating" | "authorize" | "connected" | "making_keys" | "not_begun" | "refused" | "signing_in" | "upload";
        /**
         * ConsumerMembers
         * @description The keys of a company, as it registered them at IBKR. They serve all its users.
         */
        ConsumerMembers: {
            consumer_key: string;
            /** @description The private key, in PEM. */
            signature_key: string;
            /** @description The private key, in PEM. */
            encryption_key: string;
            /** @description The file that was registered, in PEM. */
            dh_parameters: string;
            /**
             * @description IBKR's realm; the usual one if left out.
             * @default
             */
            realm?: string;
        };
        /**
         * CredentialMembers
         * @description A credential, or the part of one that is known. What was imported earlier stays where it is not replaced.
         */
        CredentialMembers: {
            /**
             * @description `oauth1a` if left out.
             * @enum {unknown}
             */
            kind?: "oauth1a" | "oauth1a-third-party" | "oauth2";
            /** @description Nine letters, as on IBKR's page. */
            consumer_key?: string;
            access_token?: string;
            /** @description As IBKR's page shows it. */
            access_token_secret?: string;
            /** @description The private key, in PEM. */
            signature_key?: string;
            /** @description The private key, in PEM. */
            encryption_key?: string;
            /** @description The file that was uploaded, in PEM. */
            dh_parameters?: string;
            realm?: string;
            is_paper?: boolean;
            /** @description Of OAuth 2.0; so are the members after it. */
            client_id?: string;
            key_id?: string;
            private_key?: string;
            username?: string;
            address?: string;
        };
        /**
         * Day
         * @description The figures of one day in New York.
         */
        Day: {
            /** Format: date */
            day: string;
            availability: components["schemas"]["AvailabilityFigures"];
        };
        /**
         * ForgottenProfile
         * @description A profile that was removed, with its credential and its keys. The journal of its orders stays.
         */
        ForgottenProfile: {
            name: string;
        };
        /**
         * Health
         * @description Whether the process can serve.
         */
        Health: {
            /** @description `ok`, or `stopping` while the process ends. */
            status: string;
            /** @description `running`, or `draining` while the process ends. */
            bridge: string;
        };
        /**
         * History
         * @description The prices of one instrument in the past.
         */
        History: {
            /**
             * Format: date-time
             * @description When IBKR gave these figures.
             */
            as_of: string;
            /** @description Whether newer figures exist or may exist: the source is lost, delayed or closed. */
            stale: boolean;
            /**
             * @description IBKR's number of an instrument.
             * @example 265598
             */
            conid: number;
            symbol: string | null;
            period: string;
            bar: string;
            kind: components["schemas"]["QuoteKind"];
            /** @description Time zone of the exchange, in which the days of its bars begin and end. */
            time_zone: string | null;
            outside_hours: boolean;
            bars: components["schemas"]["Bar"][];
        };
        /**
         * ImportedCredential
         * @description What was stored, sealed.
         */
        ImportedCredential: {
            /** @description The profile. */
            name: string;
            /** @description `keys` while the tokens of IBKR's page are missing. */
            kind: string;
            /** @description Whether the bridge can sign in now. */
            complete: boolean;
            /** @description What has to be imported yet. */
            missing: string[];
        };
        /**
         * Instrument
         * @description One instrument.
         */
        Instrument: {
            /**
             * @description IBKR's number of an instrument.
             * @example 265598
             */
            conid: number;
            symbol: string;
            name: string | null;
            asset_class: components["schemas"]["AssetClass"];
            currency: string | null;
            /** @description Where it is listed. */
            exchange: string | null;
            /** @description Where it can be traded. */
            exchanges: string[];
            /**
             * Format: decimal
             * @description Units in one contract; 1 for stocks.
             */
            multiplier: string;
            expiry: string | null;
            strike: string | null;
            right: components["schemas"]["Right"] | null;
        };
        /**
         * InstrumentSearch
         * @description What a symbol stands for.
         */
        InstrumentSearch: {
            /** @description The one that orders and quotes use for the symbol. */
            instrument: components["schemas"]["Instrument"];
            /** @description All that the symbol may stand for, this one included. */
            candidates: components["schemas"]["Candidate"][];
        };
        /**
         * IssuedToken
         * @description A token for a page.
         */
        IssuedToken: {
            /** @description Send it as `Authorization: Bearer …`, or as `token` in the query. */
            token: string;
            /** @description Always `Bearer`. */
            token_type: string;
            /** @description Seconds. */
            expires_in: number;
            /** Format: date-time */
            expires: string;
            scope: components["schemas"]["Scope"];
        };
        /**
         * JournalStatus
         * @description Whether the journal can be written, and the states of the last orders.
         */
        JournalStatus: {
            /** @description Why the journal cannot be written and orders are refused; null while it can. */
            problem: string | null;
            /** @description How many orders of the last day are in each state. Unit: orders. */
            orders: {
                [key: string]: number;
            };
            /** @description Id of the order about which IBKR has asked a question; null if there is none. */
            question: string | null;
        };
        /**
         * KeeperStatus
         * @description The session in one moment, for people and dashboards.
         */
        KeeperStatus: {
            /** @description State of the session; `ready` alone lets brokerage calls through. */
            state: string;
            /** @description Whether the brokerage session is open. */
            authenticated: boolean;
            /** @description Whether somebody is signed in at the Gateway. */
            login: boolean;
            /** @description Whether another session of the same username is in the way. */
            competing: boolean;
            /** @description Why the session is in this state, as a code. */
            reason: string;
            /** @description What a person should do now. */
            hint: string;
            /**
             * Format: date-time
             * @description When the session came into this state.
             */
            since: string;
            /** @description When the session was last checked; null before the first time. */
            checked: string | null;
            /** @description When a check last found the brokerage session open; null if none did. */
            last_good: string | null;
            /** @description What IBKR itself says of the session, redacted; empty if it says nothing. */
            ibkr_message: string;
            /** @description What the keeper does next by itself, and when. */
            next: string;
            /** @description When IBKR ends the login unless it is kept awake; null while nobody knows. */
            login_expires: string | null;
            /**
             * Format: date-time
             * @description When IBKR next ends every login.
             */
            next_reset: string;
        };
        /**
         * MadeProfile
         * @description A profile that was made.
         */
        MadeProfile: {
            profile: components["schemas"]["ProfileSummary"];
            /** @description Its key. It is shown once; the bridge has only its digest. */
            key: string | null;
        };
        /**
         * MadeProfileKey
         * @description A key that was made.
         */
        MadeProfileKey: {
            /** @description It is shown once; the bridge has only its digest. */
            key: string;
            /** @description The name of the key in the log. */
            name: string;
            scope: components["schemas"]["ProfileKeyScope"];
        };
        /**
         * Mode
         * @description Which accounts may trade.
         * @enum {string}
         */
        Mode: "live" | "paper";
        /**
         * NewConnection
         * @description A connection that begins.
         */
        NewConnection: {
            kind: components["schemas"]["ConnectionKind"];
            /**
             * @description For `oauth1a`: the file of `openssl dhparam -2 2048` in PEM; the bridge makes one if null.
             * @default null
             */
            dh_parameters?: string | null;
        };
        /**
         * NewProfile
         * @description A profile that is made while the bridge runs.
         */
        NewProfile: {
            /**
             * @description At most 32 small letters, digits and hyphens; a letter first.
             * @example anna
             */
            name: string;
            /**
             * @description Its settings, under the names of a profile file.
             * @default {}
             */
            settings?: {
                [key: string]: string | number | boolean | string[];
            };
            /**
             * @description The scope of its first key; null for none.
             * @default trade
             */
            key?: components["schemas"]["ProfileKeyScope"] | null;
            /**
             * @description The name of an app's key that reaches the profile from now on; null for none.
             * @default null
             */
            app_key?: string | null;
        };
        /**
         * NewProfileKey
         * @description A further key of a profile.
         */
        NewProfileKey: {
            /** @default trade */
            scope?: components["schemas"]["ProfileKeyScope"];
        };
        /**
         * OpenQuestion
         * @description What IBKR asks before it places an order.
         */
        OpenQuestion: {
            id: string;
            /** @description IBKR's sentences, to be shown to the user. */
            texts: string[];
            message_ids: string[];
            /** @description When the bridge answers no by itself. */
            expires_at: string | null;
        };
        /**
         * OpeningReport
         * @description What a request of a caller to open the session led to.
         */
        OpeningReport: {
            /** @description Whether the brokerage session was requested at IBKR. */
            requested: boolean;
            /** @description What IBKR answered, or why nothing was sent. */
            reason: string;
        };
        /**
         * Order
         * @description One order.
         */
        Order: {
            /** @description The bridge's id of the order; IBKR's number if it was made elsewhere. */
            id: string;
            kind: components["schemas"]["OrderKind"];
            state: components["schemas"]["OrderState"];
            /** @description Null while IBKR does not have it, or its list is unknown. */
            status: components["schemas"]["OrderStatus"] | null;
            origin: components["schemas"]["OrderOrigin"];
            account: string | null;
            conid: number | null;
            symbol: string | null;
            asset_class: components["schemas"]["AssetClass"] | null;
            currency: string | null;
            side: components["schemas"]["Side"] | null;
            type: components["schemas"]["OrderType"] | null;
            quantity: string | null;
            cash_amount: string | null;
            limit_price: string | null;
            stop_price: string | null;
            time_in_force: components["schemas"]["TimeInForce"] | null;
            outside_hours: boolean | null;
            filled: string | null;
            remaining: string | null;
            average_price: string | null;
            /** @description The caller's name for it; null if it gave none. */
            client_order_id: string | null;
            /** @description Its cOID at IBKR: the same, or a name that the bridge made. */
            coid: string | null;
            /** @description IBKR's number of the order. */
            order_id: string | null;
            /** @description All of IBKR's numbers: those of a bracket are several. */
            order_ids: string[];
            /** @description The order that must fill before this one works. */
            parent_id: string | null;
            question: components["schemas"]["OpenQuestion"] | null;
            /** @description Why it was refused, rejected, or is unknown. */
            error: string | null;
            created: string | null;
            updated: string | null;
            warnings: string[];
        };
        /**
         * OrderChange
         * @description What to change of a working order. What is left out stays as it is.
         */
        OrderChange: {
            /** @default null */
            quantity?: (string | number) | null;
            /** @default null */
            limit_price?: (string | number) | null;
            /** @default null */
            stop_price?: (string | number) | null;
            /** @default null */
            trail?: components["schemas"]["Trail"] | null;
            /** @default null */
            time_in_force?: components["schemas"]["TimeInForce"] | null;
            /** @default null */
            outside_hours?: boolean | null;
        };
        /**
         * OrderDetails
         * @description One order with all its events.
         */
        OrderDetails: {
            /** @description The bridge's id of the order; IBKR's number if it was made elsewhere. */
            id: string;
            kind: components["schemas"]["OrderKind"];
            state: components["schemas"]["OrderState"];
            /** @description Null while IBKR does not have it, or its list is unknown. */
            status: components["schemas"]["OrderStatus"] | null;
            origin: components["schemas"]["OrderOrigin"];
            account: string | null;
            conid: number | null;
            symbol: string | null;
            asset_class: components["schemas"]["AssetClass"] | null;
            currency: string | null;
            side: components["schemas"]["Side"] | null;
            type: components["schemas"]["OrderType"] | null;
            quantity: string | null;
            cash_amount: string | null;
            limit_price: string | null;
            stop_price: string | null;
            time_in_force: components["schemas"]["TimeInForce"] | null;
            outside_hours: boolean | null;
            filled: string | null;
            remaining: string | null;
            average_price: string | null;
            /** @description The caller's name for it; null if it gave none. */
            client_order_id: string | null;
            /** @description Its cOID at IBKR: the same, or a name that the bridge made. */
            coid: string | null;
            /** @description IBKR's number of the order. */
            order_id: string | null;
            /** @description All of IBKR's numbers: those of a bracket are several. */
            order_ids: string[];
            /** @description The order that must fill before this one works. */
            parent_id: string | null;
            question: components["schemas"]["OpenQuestion"] | null;
            /** @description Why it was refused, rejected, or is unknown. */
            error: string | null;
            created: string | null;
            updated: string | null;
            warnings: string[];
            /** @description Empty for an order that was made elsewhere. */
            events: components["schemas"]["OrderEventEntry"][];
        };
        /**
         * OrderEventEntry
         * @description One event of an order, as the journal has it.
         */
        OrderEventEntry: {
            /** Format: date-time */
            at: string;
            /** @description What happened, as docs/orders.md lists it. */
            what: string;
            state: components["schemas"]["OrderState"];
            kind: components["schemas"]["OrderKind"] | null;
            error: string | null;
            /** @description Code of the rule that refused it. */
            code: string | null;
            /** @description IBKR's word for the state of the order. */
            status: string | null;
            order_ids: string[];
            coids: string[];
            /** @description The question that was answered. */
            reply: string | null;
            /** @description The questions that were asked. */
            replies: string[];
            /** @description Ids of the messages in a question. */
            messages: string[];
            /** @description Who confirmed a question, if not its caller. */
            by: string | null;
            /** @description Id of the request that caused it. */
            request: string | null;
            /** @description Whether the answer came after the deadline. */
            late: boolean | null;
        };
        /**
         * OrderKind
         * @description What a call does with an order.
         * @enum {string}
         */
        OrderKind: "answer" | "cancel" | "modify" | "place";
        /**
         * OrderList
         * @description Orders of the last day and those that are open, the latest first: the journal's, and those of IBKR's list.
         */
        OrderList: {
            orders: components["schemas"]["Order"][];
            /** @description When IBKR gave its list of orders; null if it could not be read. */
            listed_at: string | null;
            /** @description Whether fills and orders made elsewhere may be missing. */
            stale: boolean;
            /** @description Code of the reason why IBKR's list could not be read. */
            problem: string | null;
        };
        /**
         * OrderOrigin
         * @description Where an order was made.
         * @enum {string}
         */
        OrderOrigin: "bridge" | "elsewhere";
        /**
         * OrderState
         * @description What the bridge knows of an order.
         * @enum {string}
         */
        OrderState: "not_placed" | "placed" | "question" | "refused" | "rejected" | "sending" | "unknown";
        /**
         * OrderStatus
         * @description What became of an order that IBKR has.
         * @enum {string}
         */
        OrderStatus: "cancelled" | "cancelling" | "filled" | "inactive" | "pending" | "working";
        /**
         * OrderTicket
         * @description One order to place. Either `symbol` or `conid`, either `quantity` or `cash_amount`.
         */
        OrderTicket: {
            side: components["schemas"]["Side"];
            type: components["schemas"]["OrderType"];
            /** @default null */
            symbol?: string | null;
            /** @default null */
            conid?: number | null;
            /** @default null */
            quantity?: (string | number) | null;
            /**
             * @description Money to spend instead of a quantity.
             * @default null
             */
            cash_amount?: (string | number) | null;
            /** @default null */
            limit_price?: (string | number) | null;
            /** @default null */
            stop_price?: (string | number) | null;
            /** @default null */
            trail?: components["schemas"]["Trail"] | null;
            /** @default day */
            time_in_force?: components["schemas"]["TimeInForce"];
            /**
             * @description Whether it may fill outside regular trading hours.
             * @default false
             */
            outside_hours?: boolean;
            /** @default null */
            bracket?: components["schemas"]["Bracket"] | null;
            /** @default null */
            client_order_id?: string | null;
        };
        /**
         * OrderType
         * @description How an order gets its price.
         * @enum {string}
         */
        OrderType: "limit" | "limit_on_close" | "market" | "market_on_close" | "midprice" | "stop" | "stop_limit" | "trail" | "trail_limit";
        /**
         * PastCondition
         * @description A condition that held at some time.
         */
        PastCondition: {
            /** @description What it is, as a code. */
            id: string;
            /** @description The profile that it concerns; null if it is the whole bridge. */
            profile: string | null;
            /** @description `critical`, `warning` or `notice`. */
            severity: string;
            /** @description What was the case when it began, for a person. */
            text: string;
            /** @description What that person should do. */
            do: string;
            /** @description Where to do it; null if there is no such place. */
            url: string | null;
            /** Format: date-time */
            began: string;
            /** @description Null while it lasts. */
            ended: string | null;
            /** @description The number of its latest change. */
            revision: number;
        };
        /**
         * PauseStatus
         * @description The pause, while new orders are stopped.
         */
        PauseStatus: {
            /** @description Who set the pause. */
            by: string;
            /** @description When it was set; null if the pause file cannot be read. Unit: UTC, ISO 8601. */
            since: string | null;
        };
        /**
         * PausedTrading
         * @description New orders are stopped.
         */
        PausedTrading: {
            paused: boolean;
            /** @description Who stopped them. */
            by: string;
            /** @description When they were stopped; null if the pause file cannot be read. */
            since: string | null;
            /** @description Whether the pause will survive a restart. */
            kept: boolean;
        };
        /**
         * PenaltyStatus
         * @description What IBKR refuses now.
         */
        PenaltyStatus: {
            /** @description How long IBKR still refuses everything; 0 if it does not. Unit: s, rounded up. */
            box_s: number;
            /** @description How long each endpoint that IBKR refuses stays closed, by its path. Unit: s, rounded up. */
            endpoints: {
                [key: string]: number;
            };
        };
        /**
         * Position
         * @description What an account holds of one instrument.
         */
        Position: {
            /**
             * @description An account number at IBKR.
             * @example DU1234567
             */
            account: string;
            /**
             * @description IBKR's number of an instrument.
             * @example 265598
             */
            conid: number;
            symbol: string | null;
            /** @description IBKR's text, with expiry and strike of a derivative. */
            description: string | null;
            asset_class: components["schemas"]["AssetClass"];
            currency: string | null;
            /** @description Where it is listed. */
            exchange: string | null;
            /**
             * Format: decimal
             * @description Negative if it is short.
             */
            quantity: string;
            /** @description For one unit, multiplier and fees included. */
            average_cost: string | null;
            /** @description As quoted: without the multiplier. */
            average_price: string | null;
            /** @description The price that IBKR values it at. */
            price: string | null;
            /** @description In the currency of the instrument. */
            value: string | null;
            unrealized_pnl: string | null;
            realized_pnl: string | null;
            /**
             * Format: decimal
             * @description Units in one contract; 1 for stocks.
             */
            multiplier: string;
            expiry: string | null;
            strike: string | null;
            right: components["schemas"]["Right"] | null;
        };
        /**
         * PositionList
         * @description Positions, without those of size zero.
         */
        PositionList: {
            /**
             * Format: date-time
             * @description When IBKR gave these figures.
             */
            as_of: string;
            /** @description Whether newer figures exist or may exist: the source is lost, delayed or closed. */
            stale: boolean;
            positions: components["schemas"]["Position"][];
        };
        /**
         * Preview
         * @description What an order would cost, and what it would do to the account.
         */
        Preview: {
            /** @description Of the amounts; the rest is in the account's currency. */
            currency: string | null;
            /** @description Value of the order without commission. */
            amount: string | null;
            commission: string | null;
            total: string | null;
            equity_before: string | null;
            equity_after: string | null;
            initial_margin_before: string | null;
            initial_margin_after: string | null;
            maintenance_margin_before: string | null;
            maintenance_margin_after: string | null;
            position_before: string | null;
            position_after: string | null;
            warnings: string[];
            error: string | null;
        };
        /**
         * Problem
         * @description Why a request failed. Some codes have further members, such as the candidates of `ambiguous_symbol`.
         */
        Problem: {
            /**
             * @description The code as a URN.
             * @example urn:ibkr-bridge:problem:busy
             */
            type: string;
            /** @description The code in words. */
            title: string;
            /** @description The status of the response. */
            status: number;
            /** @description What happened, for the developer and the log. */
            detail: string;
            /** @description The same as `detail`: clients of IBKR's API read this member. */
            error: string;
            /**
             * @description What happened, for programs. A code never changes its meaning.
             * @enum {string}
             */
            code: "account_not_allowed" | "account_not_found" | "ambiguous_symbol" | "bad_path" | "bad_request" | "busy" | "confirmation_required" | "duplicate_order" | "gateway_forbidden" | "gateway_protocol_error" | "gateway_timeout" | "gateway_unreachable" | "host_not_allowed" | "idempotency_mismatch" | "instrument_not_found" | "insufficient_scope" | "internal" | "invalid_key" | "journal_unavailable" | "maintenance" | "market_data_limit" | "method_not_allowed" | "not_bridged" | "not_supported" | "order_in_progress" | "order_limit_exceeded" | "order_not_found" | "order_not_placed" | "order_not_working" | "order_rejected" | "order_unknown" | "origin_not_allowed" | "paper_only" | "payload_too_large" | "penalty_box" | "profile_exists" | "profile_not_found" | "profile_required" | "rate_limited" | "read_only" | "reply_not_found" | "request_token_unknown" | "session_unavailable" | "shutting_down" | "trading_paused" | "unsupported_media_type" | "upstream_error" | "upstream_refused" | "uri_too_long" | "validation_failed";
            /** @description What a developer or an operator can do about it. */
            hint: string;
            /** @description The id of the request, which the log has too. */
            request_id: string;
            /** @description Whether the same request may be sent again later, and does no harm. */
            retryable: boolean;
            /** @description The member or parameter that is to blame; null if it is none. */
            field: string | null;
            /** @description The order of the call in the journal, for `GET /orders/{id}`; null if none. */
            order_id: string | null;
            /** @description A sentence that an app may show to its user. */
            user_message: string;
            /** @description What the user can do now. */
            action: components["schemas"]["Action"];
        };
        /**
         * ProfileKeyScope
         * @description What a key of a profile allows.
         * @enum {string}
         */
        ProfileKeyScope: "read" | "trade";
        /**
         * ProfileList
         * @description The profiles that a key reaches, `main` first.
         */
        ProfileList: {
            profiles: components["schemas"]["ProfileSummary"][];
            /** @description Profiles of files with wrong settings; null for a key that does not manage. */
            refused: components["schemas"]["RefusedProfile"][] | null;
        };
        /**
         * ProfileStatus
         * @description Everything the bridge knows of one profile.
         */
        ProfileStatus: {
            /** @description State of the session; `ready` alone lets brokerage calls through. */
            state: string;
            /** @description Whether the brokerage session is open. */
            authenticated: boolean;
            /** @description Whether somebody is signed in at the Gateway. */
            login: boolean;
            /** @description Whether another session of the same username is in the way. */
            competing: boolean;
            /** @description Why the session is in this state, as a code. */
            reason: string;
            /** @description What a person should do now. */
            hint: string;
            /**
             * Format: date-time
             * @description When the session came into this state.
             */
            since: string;
            /** @description When the session was last checked; null before the first time. */
            checked: string | null;
            /** @description When a check last found the brokerage session open; null if none did. */
            last_good: string | null;
            /** @description What IBKR itself says of the session, redacted; empty if it says nothing. */
            ibkr_message: string;
            /** @description What the keeper does next by itself, and when. */
            next: string;
            /** @description When IBKR ends the login unless it is kept awake; null while nobody knows. */
            login_expires: string | null;
            /**
             * Format: date-time
             * @description When IBKR next ends every login.
             */
            next_reset: string;
            /** @description What a person may have to know now, the most important first. */
            conditions: components["schemas"]["Condition"][];
            /** @description `paper` or `live`, as IBKR_TRADING_MODE says. */
            mode: string;
            /** @description Whether the bridge refuses every change. */
            read_only: boolean;
            /** @description The trading pause; null if there is none. */
            paused: components["schemas"]["PauseStatus"] | null;
            /** @description End of the current maintenance window of IBKR; null outside of one. */
            maintenance_until: string | null;
            /** @description Whether the bridge is stopping and accepts no new calls. */
            draining: boolean;
            /** @description Address of the Gateway, or of IBKR's Web API without one. */
            gateway: string;
            /** @description Settings that the last reload has read and that only a restart applies. */
            restart_needed: string[];
            /** @description The accounts of the login. */
            accounts: components["schemas"]["AccountStatus"][];
            /** @description The calls inside the Gateway. */
            slots: components["schemas"]["SlotsStatus"];
            /** @description The calls that wait for admission, by priority. */
            waiting: components["schemas"]["WaitingStatus"];
            /** @description The rate limit of all calls together; null if there is none. */
            budget: components["schemas"]["BudgetStatus"] | null;
            /** @description What IBKR refuses now. */
            penalty: components["schemas"]["PenaltyStatus"];
            /** @description The cache of reads. */
            cache: components["schemas"]["CacheStatus"];
            /** @description The journal of orders. */
            journal: components["schemas"]["JournalStatus"];
            /** @description The feed from IBKR and its subscribers. */
            stream: components["schemas"]["StreamStatus"];
        };
        /**
         * ProfileSummary
         * @description One profile: an IBKR username with the road to it.
         */
        ProfileSummary: {
            /** @description Its name, for the header X-Bridge-Profile. */
            name: string;
            /** @description `gateway` or `oauth`: how the bridge reaches IBKR for it. */
            road: string;
            /** @description `paper` or `live`. */
            mode: string;
            /** @description Whose profile it is, in the words of the app; empty if nobody said. */
            user: string;
            /** @description State of the session; `ready` lets brokerage calls through. */
            state: string;
            /** @description Whether the brokerage session is open. */
            ready: boolean;
            /** @description Why the session is in this state, as a code. */
            reason: string;
            /** @description What a person should do now. */
            hint: string;
            /** Format: date-time */
            since: string;
            /** @description What the bridge does next by itself, and when. */
            next: string;
            /** @description Whether somebody stopped new orders. */
            paused: boolean;
        };
        /**
         * QuestionAnswer
         * @description The answer to IBKR's question about an order.
         */
        QuestionAnswer: {
            /** @description Whether to place the order nevertheless. */
            confirm: boolean;
            /**
             * @description The question that is answered; the open one of the order if it is left out.
             * @default null
             */
            question_id?: string | null;
        };
        /**
         * Quote
         * @description The quote of one instrument.
         */
        Quote: {
            /**
             * Format: date-time
             * @description When IBKR gave these figures.
             */
            as_of: string;
            /** @description Whether newer figures exist or may exist: the source is lost, delayed or closed. */
            stale: boolean;
            /**
             * @description IBKR's number of an instrument.
             * @example 265598
             */
            conid: number;
            symbol: string | null;
            kind: components["schemas"]["QuoteKind"];
            currency: string | null;
            last: string | null;
            bid: string | null;
            bid_size: string | null;
            ask: string | null;
            ask_size: string | null;
            open: string | null;
            high: string | null;
            low: string | null;
            previous_close: string | null;
            /** @description Since the previous close. */
            change: string | null;
            change_percent: string | null;
            /** @description Of the day, in units. */
            volume: string | null;
        };
        /**
         * QuoteKind
         * @description What a quote is worth.
         * @enum {string}
         */
        QuoteKind: "closed" | "delayed" | "frozen" | "live" | "none";
        /**
         * QuoteList
         * @description Quotes in the order in which they were asked for, and why others have none.
         */
        QuoteList: {
            quotes: components["schemas"]["Quote"][];
            problems: components["schemas"]["QuoteProblem"][];
        };
        /**
         * QuoteProblem
         * @description Why an instrument that was asked for has no quote.
         */
        QuoteProblem: {
            /** @description The symbol or number as it was asked for. */
            requested: string;
            code: string;
            detail: string;
        };
        /**
         * ReconnectStatus
         * @description The session after a request to reopen it.
         */
        ReconnectStatus: {
            /** @description State of the session; `ready` alone lets brokerage calls through. */
            state: string;
            /** @description Whether the brokerage session is open. */
            authenticated: boolean;
            /** @description Whether somebody is signed in at the Gateway. */
            login: boolean;
            /** @description Whether another session of the same username is in the way. */
            competing: boolean;
            /** @description Why the session is in this state, as a code. */
            reason: string;
            /** @description What a person should do now. */
            hint: string;
            /**
             * Format: date-time
             * @description When the session came into this state.
             */
            since: string;
            /** @description When the session was last checked; null before the first time. */
            checked: string | null;
            /** @description When a check last found the brokerage session open; null if none did. */
            last_good: string | null;
            /** @description What IBKR itself says of the session, redacted; empty if it says nothing. */
            ibkr_message: string;
            /** @description What the keeper does next by itself, and when. */
            next: string;
            /** @description When IBKR ends the login unless it is kept awake; null while nobody knows. */
            login_expires: string | null;
            /**
             * Format: date-time
             * @description When IBKR next ends every login.
             */
            next_reset: string;
            /** @description What the request led to. */
            reopening: components["schemas"]["OpeningReport"];
        };
        /**
         * RefusedProfile
         * @description A profile of a file that cannot be used.
         */
        RefusedProfile: {
            name: string;
            /** @description What to correct. */
            problems: string;
        };
        /**
         * ResumedTrading
         * @description New orders are allowed.
         */
        ResumedTrading: {
            paused: boolean;
            /** @description Whether this will survive a restart. */
            kept: boolean;
        };
        /**
         * ReturnedVerifier
         * @description What the app's callback received from IBKR's page.
         */
        ReturnedVerifier: {
            oauth_token: string;
            oauth_verifier: string;
        };
        /**
         * Right
         * @description What an option gives the right to do.
         * @enum {string}
         */
        Right: "call" | "put";
        /**
         * Scope
         * @description What a token allows.
         * @enum {string}
         */
        Scope: "read" | "trade";
        /**
         * Session
         * @description The session at IBKR, checked within the last five seconds.
         */
        Session: {
            /** @description State of the session; `ready` alone lets brokerage calls through. */
            state: string;
            /** @description Whether quotes and orders work now. */
            ready: boolean;
            mode: components["schemas"]["Mode"];
            /** @description Whether this key could place an order now. */
            can_trade: boolean;
            /**
             * Format: date-time
             * @description When the session came into this state.
             */
            since: string;
            /** @description Why it is in this state, as a code. */
            reason: string;
            /** @description A sentence that an app may show to its user. */
            message: string;
            action: components["schemas"]["Action"];
            /** @description Seconds after which to ask again; null while the session is ready. */
            retry_after: number | null;
            /**
             * Format: date-time
             * @description When IBKR next ends every login.
             */
            next_reset: string;
            /** @description What an operator may have to know, first things first. */
            conditions: components["schemas"]["Condition"][];
        };
        /**
         * SessionSpan
         * @description A time in which the session was in one state. Between two of them the bridge did not run.
         */
        SessionSpan: {
            /** @description As in `GET /gateway/status`. */
            state: string;
            /** Format: date-time */
            began: string;
            /** Format: date-time */
            ended: string;
        };
        /**
         * Side
         * @description The side of an order or a trade.
         * @enum {string}
         */
        Side: "buy" | "sell";
        /**
         * SlotsStatus
         * @description The calls inside the Gateway.
         */
        SlotsStatus: {
            /** @description How many calls of the bridge may be inside at a time. Unit: calls. */
            total: number;
            /** @description How many are inside, ghost calls included. Unit: calls. */
            taken: number;
            /** @description How many wait for a slot or for a limit. Unit: calls. */
            waiting: number;
            /** @description How many were given up by the bridge and may still occupy a slot. Unit: calls. */
            ghost_calls: number;
        };
        /**
         * StoredConsumer
         * @description Whether the bridge has the keys of a company.
         */
        StoredConsumer: {
            stored: boolean;
        };
        /**
         * StreamStatus
         * @description The feed, and its subscribers.
         */
        StreamStatus: {
            /** @description Whether the feed from IBKR is up, so that streams are fresh. */
            up: boolean;
            /** @description Why the feed is in this state, as a code. */
            reason: string;
            /** @description When it came into this state. Unit: UTC, ISO 8601 with milliseconds. */
            since: string;
            /** @description Contracts whose market data line was opened by a call. Unit: contracts. */
            market_data_lines_of_calls: number;
            /** @description Open streams and websockets of callers. Unit: connections. */
            readers: number;
            /** @description Of these, those that read too slowly to get every change. Unit: connections. */
            behind: number;
            /** @description Topics that IBKR is asked to send. Unit: topics. */
            topics: number;
            /** @description Of these, topics that IBKR has not answered in time. Unit: topics. */
            silent_topics: number;
            /** @description Of these, contracts whose quotes are streamed. Unit: contracts. */
            quotes: number;
            /** @description By how much this machine's clock is ahead of IBKR's; null if it is not known. Unit: seconds. */
            clock_skew_s: number | null;
        };
        /**
         * TimeInForce
         * @description How long an order works.
         * @enum {string}
         */
        TimeInForce: "day" | "gtc" | "ioc" | "opg" | "pax";
        /**
         * TokenOptions
         * @description What a token is requested for. An empty body requests the defaults.
         */
        TokenOptions: {
            /** @default read */
            scope?: components["schemas"]["Scope"];
            /**
             * @description Seconds.
             * @default 1800
             */
            expires_in?: number;
            /** @default api */
            audience?: components["schemas"]["Audience"];
        };
        /**
         * Trade
         * @description One execution. A partly filled order has several.
         */
        Trade: {
            /** @description IBKR's id of the execution. */
            id: string;
            account: string | null;
            /** @description IBKR's number of the order. */
            order_id: string | null;
            client_order_id: string | null;
            /**
             * @description IBKR's number of an instrument.
             * @example 265598
             */
            conid: number;
            symbol: string | null;
            asset_class: components["schemas"]["AssetClass"];
            side: components["schemas"]["Side"];
            /** Format: decimal */
            quantity: string;
            /** Format: decimal */
            price: string;
            /** @description Quantity times price times multiplier. */
            net_amount: string | null;
            commission: string | null;
            exchange: string | null;
            /** Format: date-time */
            at: string;
        };
        /**
         * TradeList
         * @description Trades, the latest first.
         */
        TradeList: {
            /**
             * Format: date-time
             * @description When IBKR gave these figures.
             */
            as_of: string;
            /** @description Whether newer figures exist or may exist: the source is lost, delayed or closed. */
            stale: boolean;
            trades: components["schemas"]["Trade"][];
        };
        /**
         * Trail
         * @description The distance at which a trailing stop follows the price.
         */
        Trail: {
            /** Format: decimal */
            amount: string | number;
            /** @default amount */
            unit?: components["schemas"]["TrailUnit"];
        };
        /**
         * TrailUnit
         * @description What a trailing distance is measured in.
         * @enum {string}
         */
        TrailUnit: "amount" | "percent";
        /**
         * WaitingStatus
         * @description The calls that wait, by priority.
         */
        WaitingStatus: {
            /** @description Calls that IBKR wants before others. Unit: calls. */
            session: number;
            /** @description Calls about orders. Unit: calls. */
            orders: number;
            /** @description All others. Unit: calls. */
            reads: number;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;

// The shapes of the bridge under short names. Where one member decides what another one is, the shape is a union: after
// `if (order.state === "question")` the compiler knows that `order.question` is not null.

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

// One class for everything that goes wrong; programs switch on `code`.

/** Codes of the client itself: the bridge could not be asked, or what answered is no bridge. */
export type ClientCode =
  | "settings_invalid" // IBKR_BRIDGE_URL or IBKR_BRIDGE_KEY is missing or wrong
  | "bridge_unreachable" // nothing was sent
  | "bridge_connection_lost" // the request was sent, and its outcome is unknown
  | "bridge_timeout" // the same, after the deadline
  | "not_this_bridge"; // something else answered at this address

export type BridgeErrorCode = ProblemCode | ClientCode;

/** What an error needs; the members are those of the bridge's problems. */
export interface ErrorDetails {
  code: BridgeErrorCode;
  message: string;
  userMessage?: string | undefined;
  status?: number | undefined;
  action?: Action | undefined;
  field?: string | null | undefined;
  hint?: string | undefined;
  requestId?: string | undefined;
  retryAfter?: number | null | undefined;
  members?: Readonly<Record<string, unknown>> | undefined;
  cause?: unknown;
}

const SORRY = "The trading connection does not answer. Try again in a moment.";

export class BridgeError extends Error {
  override readonly name = "BridgeError";
  /** What happened, for programs. */
  readonly code: BridgeErrorCode;
  /** A sentence that may be shown to a user. `message` is for developers. */
  readonly userMessage: string;
  /** The status of the response; 0 if there was none. */
  readonly status: number;
  /** What the user can do. */
  readonly action: Action;
  /** The member or parameter that is to blame; null if it is none. */
  readonly field: string | null;
  /** What a developer or an operator can do. */
  readonly hint: string;
  /** The id under which the bridge's log has the request; empty if it never came there. */
  readonly requestId: string;
  /** Seconds after which the same request may be sent again; null if waiting does not help. */
  readonly retryAfter: number | null;
  /** The key of an order that may exist: sent again with it, the same order is not placed a second time. */
  idempotencyKey: string | null = null;
  private readonly members: Readonly<Record<string, unknown>>;

  constructor(details: ErrorDetails) {
    super(details.message, { cause: details.cause });
    this.code = details.code;
    this.userMessage = details.userMessage ?? SORRY;
    this.status = details.status ?? 0;
    this.action = details.action ?? { kind: "none", url: null };
    this.field = details.field ?? null;
    this.hint = details.hint ?? "";
    this.requestId = details.requestId ?? "";
    this.retryAfter = details.retryAfter ?? null;
    this.members = details.members ?? {};
  }

  /** The instruments that an ambiguous symbol may stand for. */
  get candidates(): readonly Candidate[] {
    return (this.members["candidates"] as Candidate[] | undefined) ?? [];
  }

  /** The order of the call in the bridge's journal: `order(orderId)` shows what became of it. Null if there is none. */
  get orderId(): string | null {
    return (this.members["order_id"] as string | null | undefined) ?? null;
  }

  /** The order that was rejected or not placed; null if the error is not about one. */
  get order(): Order | null {
    return (this.members["order"] as Order | undefined) ?? null;
  }
}

/** The error of a response; null if it is none of the bridge's. */
export function errorOfProblem(text: string, retryAfter: number | null): BridgeError | null {
  const problem = parseProblem(text);
  if (problem === null) return null;
  return new BridgeError({
    ...{ code: problem.code, message: `${problem.detail ?? problem.code}`, userMessage: problem.user_message },
    ...{ status: problem.status, action: problem.action as Action, field: problem.field, hint: problem.hint },
    ...{ requestId: problem.request_id, retryAfter, members: problem as unknown as Record<string, unknown> },
  });
}

function parseProblem(text: string): Problem | null {
  try {
    const value: unknown = JSON.parse(text);
    const isProblem = typeof value === "object" && value !== null && "code" in value && "user_message" in value;
    return isProblem ? (value as Problem) : null;
  } catch {
    return null;
  }
}

// The address and the key of the bridge, from the environment of the app's server. Each fault is named.

export interface BridgeOptions {
  /** Instead of the variable IBKR_BRIDGE_URL. */
  url?: string;
  /** Instead of the variable IBKR_BRIDGE_KEY. */
  key?: string;
  /** The profile that the calls concern, for the key of an app with several users. */
  profile?: string;
  /** Instead of the global `fetch`. */
  fetch?: typeof fetch;
  /** Seconds for the answer to a read; 85 if left out, which is longer than the bridge itself waits. */
  readSeconds?: number;
  /** Seconds for the answer to an order; 185 if left out. */
  orderSeconds?: number;
}

export interface Access {
  url: string;
  key: string;
}

export type KeyName = "IBKR_BRIDGE_KEY" | "IBKR_BRIDGE_ADMIN_KEY";
const EXAMPLE_KEY = "REPLACE_WITH_REAL_KEY";

/** The address and a key. They are read at each call, so that a build needs neither. */
export function readAccess(options: BridgeOptions, keyName: KeyName): Access {
  if ("window" in globalThis && options.key === undefined) {
    throw fault("createBridge() belongs on the server: in a browser everybody could read the key");
  }
  const environment = "process" in globalThis ? process.env : {};
  return { url: checkUrl(options.url ?? environment["IBKR_BRIDGE_URL"]), key: checkKey(options.key ?? environment[keyName], keyName) };
}

function checkUrl(text: string | undefined): string {
  if (!text) throw fault("IBKR_BRIDGE_URL is missing: write IBKR_BRIDGE_URL=http://127.0.0.1:8000 into .env.local");
  if (!URL.canParse(text) || !/^https?:\/\//.test(text)) {
    throw fault("IBKR_BRIDGE_URL is not an address: write it as http://127.0.0.1:8000");
  }
  if (text.endsWith("/")) throw fault("IBKR_BRIDGE_URL has a slash too many: it ends after the port");
  if (new URL(text).origin !== text.toLowerCase()) {
    throw fault("IBKR_BRIDGE_URL must end after the port, without a path, a name or a query");
  }
  return text;
}

function checkKey(key: string | undefined, name: KeyName): string {
  if (!key) throw fault(`${name} is missing: write the key of the bridge into .env.local, without NEXT_PUBLIC_`);
  if (key === EXAMPLE_KEY) throw fault(`${name} is still the example: write the key that the bridge has`);
  if (/[^!-~]/.test(key)) throw fault(`${name} has a space or a character that no key has: copy it again`);
  if (/^["'].*["']$/.test(key)) throw fault(`${name} has quotes around it: write the key without them`);
  return key;
}

function fault(message: string): BridgeError {
  return new BridgeError({ code: "settings_invalid", message, userMessage: "The trading connection is not set up completely." });
}

// Sends one call: with a deadline that is longer than the bridge's own, and a read once more if that does no harm.

export type Query = Readonly<Record<string, string | number | boolean | readonly (string | number)[] | undefined>>;

export interface CallOptions {
  /** Ends the wait for the answer. What was sent may still be carried out. */
  signal?: AbortSignal | undefined;
  /** Seconds that the bridge may wait for the session or for a free slot, instead of failing at once. */
  wait?: number | undefined;
}

export interface Call extends CallOptions {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  path: string;
  query?: Query;
  body?: unknown;
  headers?: Readonly<Record<string, string>>;
}

// The bridge waits 5 s for a slot and 15 s for the head of IBKR's response. A read of the plain API may be four calls.
const READ_S = 85;
// Five reads before the order, and 80 s for an answer that comes very slowly: its outcome is worth the wait.
const ORDER_S = 185;
const MAX_REPEAT_DELAY_S = 5; // a page does not wait longer

export class Transport {
  constructor(readonly options: BridgeOptions, readonly keyName: KeyName = "IBKR_BRIDGE_KEY") {}

  /** The JSON of the answer. */
  async send<Answer>(call: Call): Promise<Answer> {
    try {
      return await this.sendOnce<Answer>(call);
    } catch (error) {
      const delay = repeatDelay(call, error);
      if (delay === null) throw error;
      await sleep(delay, call.signal);
      return this.sendOnce<Answer>(call);
    }
  }

  private async sendOnce<Answer>(call: Call): Promise<Answer> {
    const seconds = call.method === "GET" ? (this.options.readSeconds ?? READ_S) : (this.options.orderSeconds ?? ORDER_S);
    const deadline = AbortSignal.timeout((seconds + (call.wait ?? 0)) * 1000);
    const signal = call.signal ? AbortSignal.any([deadline, call.signal]) : deadline;
    const body = call.body === undefined ? null : JSON.stringify(call.body);
    const reply = await this.open({ ...call, signal }, body, deadline);
    const text = await readText(reply, call, deadline);
    if (reply.ok) return parseAnswer<Answer>(text);
    throw errorOf(reply, text);
  }

  /** Send a request and return its response, whose body is not read yet. */
  async open(call: Call, body: string | null = null, deadline?: AbortSignal): Promise<Response> {
    const { url, key } = readAccess(this.options, this.keyName);
    const headers: Record<string, string> = { ...call.headers, "X-Bridge-Key": key };
    if (this.options.profile !== undefined) headers["X-Bridge-Profile"] = this.options.profile;
    if (body !== null) headers["Content-Type"] = "application/json";
    if (call.wait !== undefined) headers["X-Bridge-Wait"] = String(call.wait);
    const init = { method: call.method, headers, body, cache: "no-store" as const, signal: call.signal ?? null };
    try {
      return await (this.options.fetch ?? fetch)(url + call.path + queryText(call.query), init);
    } catch (cause) {
      throw lostError(cause, call, deadline);
    }
  }
}

async function readText(reply: Response, call: Call, deadline: AbortSignal): Promise<string> {
  try {
    return await reply.text();
  } catch (cause) {
    throw lostError(cause, call, deadline, true);
  }
}

function parseAnswer<Answer>(text: string): Answer {
  try {
    return JSON.parse(text) as Answer;
  } catch (cause) {
    throw new BridgeError({ code: "not_this_bridge", message: "the answer is not JSON; is IBKR_BRIDGE_URL the bridge's address?", cause });
  }
}

/** The error of a response that is none of 2xx. */
export function errorOf(reply: Response, text: string): BridgeError {
  const retryAfter = reply.headers.get("retry-after");
  const error = errorOfProblem(text, retryAfter === null ? null : Number(retryAfter));
  if (error?.code === "invalid_key") {
    error.message = "the bridge does not accept the key: is IBKR_BRIDGE_KEY the same as the bridge's own?";
  }
  if (error !== null) return error;
  return new BridgeError({
    ...{ code: "not_this_bridge", status: reply.status },
    message: `something that is no bridge answered ${reply.status}; is IBKR_BRIDGE_URL the bridge's address?`,
  });
}

/** The error of a request whose answer never came. A refused connection means that nothing was sent. */
function lostError(cause: unknown, call: Call, deadline?: AbortSignal, hasHead = false): unknown {
  if (deadline?.aborted) {
    return new BridgeError({ code: "bridge_timeout", message: `no answer came in time to ${call.method} ${call.path}`, cause });
  }
  if (call.signal?.aborted) return cause; // the caller gave up
  const reason = (cause as { cause?: { code?: string } }).cause?.code ?? "";
  if (!hasHead && ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"].includes(reason)) {
    return new BridgeError({ code: "bridge_unreachable", message: "no bridge listens at IBKR_BRIDGE_URL", retryAfter: 1, cause });
  }
  return new BridgeError({ code: "bridge_connection_lost", message: `the connection broke during ${call.method} ${call.path}`, cause });
}

/** Seconds after which a call is sent once more; null if it must not be. Only reads are repeated, never orders. */
function repeatDelay(call: Call, error: unknown): number | null {
  if (call.method !== "GET" || !(error instanceof BridgeError) || call.signal?.aborted) return null;
  if (error.code === "bridge_connection_lost") return 0;
  return error.retryAfter !== null && error.retryAfter <= MAX_REPEAT_DELAY_S ? error.retryAfter : null;
}

/** Wait, but stop waiting when the caller gives up. */
export function sleep(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const giveUp = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", giveUp);
      resolve();
    }, seconds * 1000);
    if (signal?.aborted) giveUp();
    else signal?.addEventListener("abort", giveUp, { once: true });
  });
}

function queryText(query: Query = {}): string {
  const pairs = Object.entries(query).flatMap(([name, value]) => {
    if (value === undefined) return [];
    const texts = typeof value === "object" ? value.map((each) => encodeURIComponent(each)) : [encodeURIComponent(value)];
    return texts.length ? [`${name}=${texts.join(",")}`] : [];
  });
  return pairs.length ? `?${pairs.join("&")}` : "";
}

// The events of the bridge: what each topic sends, and how an event is read. The app's server and its pages use it.

/** What each topic sends. */
export interface Topics {
  session: Session;
  account: Account;
  positions: PositionList;
  orders: Order;
  trades: Trade;
  quotes: Quote;
}

export type Topic = keyof Topics;
type Data = { [Name in Topic]: { type: Name; id: string | null; data: Topics[Name] } }[Topic];
/** A value of a topic, or what is to be known of the stream: `stale` values are old until they are `fresh` again. */
export type BridgeEvent =
  | Data
  | { type: "stale"; reason: string; topic: Topic | null }
  | { type: "fresh"; topic: Topic | null }
  | { type: "gap" } // events were missed that the bridge no longer has; the present state follows
  | { type: "problem"; data: Readonly<Record<string, unknown>> };

/** Which events a stream has. */
export interface EventChoice {
  /** All but quotes if it is left out; with `instruments`, quotes as well. */
  topics?: readonly Topic[] | undefined;
  /** Symbols (text) and IBKR's numbers of the quotes. */
  instruments?: readonly (string | number)[] | undefined;
}

/** One event as it was sent. */
export interface SentEvent {
  name: string;
  id: string | null;
  data: Readonly<Record<string, unknown>>;
}

/** The topics that need no instrument. */
export const PLAIN_TOPICS: readonly Topic[] = ["session", "account", "positions", "orders", "trades"];

/** The query of a stream. */
export function eventQuery({ topics, instruments = [] }: EventChoice): Record<string, readonly (string | number)[]> {
  const quoted = instruments.length > 0 ? [...PLAIN_TOPICS, "quotes"] : PLAIN_TOPICS;
  const symbols = instruments.filter((each) => typeof each === "string");
  const conids = instruments.filter((each) => typeof each === "number");
  return { topics: topics ?? quoted, symbols, conids };
}

/** An event for the app. */
export function toEvent({ name, id, data }: SentEvent): BridgeEvent {
  const topic = typeof data["topic"] === "string" ? (data["topic"] as Topic) : null;
  if (name === "stale") return { type: "stale", reason: String(data["reason"]), topic };
  if (name === "fresh") return { type: "fresh", topic };
  if (name === "gap") return { type: "gap" };
  return name === "problem" ? { type: "problem", data } : ({ type: name, id, data } as unknown as Data);
}

// The events of the bridge as an async iterator. It connects again by itself, after the last event that it had, and
// says when what is shown is old and when it is current again.

export interface EventOptions extends EventChoice {
  signal?: AbortSignal | undefined;
  /** The id of the last event that an earlier connection had. */
  lastEventId?: string | undefined;
}

const OPEN = { type: "open" } as const; // the bridge has accepted the stream
const SILENCE_S = 40; // the bridge sends a comment every 15 s
const FIRST_DELAY_S = 1;
const MAX_DELAY_S = 30;
const FINAL_REASONS = new Set(["token_expired", "key_rotated"]);

/** Splits a text/event-stream into its events, however the bytes are cut. */
export class EventParser {
  private rest = "";

  push(text: string): SentEvent[] {
    const blocks = (this.rest + text).replaceAll("\r\n", "\n").split("\n\n");
    this.rest = blocks.pop() ?? "";
    return blocks.flatMap((block) => parseBlock(block) ?? []);
  }
}

function parseBlock(block: string): SentEvent | null {
  const fields = new Map(block.split("\n").map((line) => [line.split(":", 1)[0] ?? "", line.replace(/^[^:]*: ?/, "")]));
  const data = fields.get("data");
  if (data === undefined) return null;
  return { name: fields.get("event") ?? "", id: fields.get("id") ?? null, data: JSON.parse(data) as SentEvent["data"] };
}

/** The events, until the signal ends them. Throws if the bridge refuses the stream for good. */
export async function* readEvents(transport: Transport, options: EventOptions = {}): AsyncGenerator<BridgeEvent> {
  let lastId = options.lastEventId ?? null;
  let isLost = false;
  for (let failures = 0; !options.signal?.aborted; failures++) {
    try {
      for await (const event of readConnection(transport, lastId, options)) {
        if (event.type === "open") {
          if (isLost) yield { type: "fresh", topic: null }; // if the source is lost as well, the bridge says so next
          isLost = false;
          failures = 0;
          continue;
        }
        if ("id" in event) lastId = event.id ?? lastId;
        yield event;
      }
    } catch (error) {
      if (options.signal?.aborted) return;
      if (!isTemporary(error)) throw error;
    }
    if (!isLost && !options.signal?.aborted) yield { type: "stale", reason: "bridge_connection_lost", topic: null };
    isLost = true;
    await sleep(Math.min(FIRST_DELAY_S * 2 ** failures, MAX_DELAY_S), options.signal).catch(() => undefined);
  }
}

/** Whether the stream may work later: the bridge restarts, is busy, or the connection broke. */
function isTemporary(error: unknown): boolean {
  if (!(error instanceof BridgeError)) return true;
  return error.status === 0 ? error.code !== "settings_invalid" : error.status === 429 || error.status >= 500;
}

async function* readConnection(
  transport: Transport, lastId: string | null, options: EventOptions,
): AsyncGenerator<BridgeEvent | typeof OPEN> {
  const silence = new AbortController();
  const signal = options.signal ? AbortSignal.any([silence.signal, options.signal]) : silence.signal;
  const headers = lastId === null ? {} : { "Last-Event-ID": lastId };
  const reply = await transport.open({ method: "GET", path: "/events", query: eventQuery(options), headers, signal });
  if (!reply.ok || reply.body === null) throw errorOf(reply, await reply.text());
  yield OPEN;
  try {
    for await (const sent of readBody(reply.body, () => silence.abort())) {
      if (sent.name === "end") return checkEnd(String(sent.data["reason"]));
      yield toEvent(sent);
    }
  } finally {
    silence.abort(); // a reader that stops early must not keep the connection
  }
}

async function* readBody(body: ReadableStream<Uint8Array>, onSilence: () => void): AsyncGenerator<SentEvent> {
  const reader = body.getReader();
  const [decoder, parser] = [new TextDecoder(), new EventParser()];
  let timer = setTimeout(onSilence, SILENCE_S * 1000);
  try {
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
      clearTimeout(timer);
      timer = setTimeout(onSilence, SILENCE_S * 1000);
      yield* parser.push(decoder.decode(chunk.value, { stream: true }));
    }
  } finally {
    clearTimeout(timer);
  }
}

function checkEnd(reason: string): void {
  if (FINAL_REASONS.has(reason)) {
    throw new BridgeError({ code: "invalid_key", status: 401, message: `the bridge ended the stream: ${reason}` });
  }
}

// Route handlers for Next.js (App Router) and other servers that answer a `Request` with a `Response`.
//
//     export const GET = bridge.route.positions();
//     export const { GET, POST, PATCH, DELETE } = bridge.route.all({ authorize });
//
// The key stays on the server. A page gets the bridge's answers, and of its errors only what a page may know.

type Params = Readonly<Record<string, string | readonly string[] | undefined>>;
/** The second argument of a handler; Next.js 15 passes a promise of the parameters, older versions pass them. */
export interface RouteContext {
  params?: Promise<Params> | Params;
}
export type RouteHandler = (request: Request, context?: RouteContext) => Promise<Response>;

export interface ReadOptions {
  /** Whether the sender of a request may see the answer. Without it the app itself must protect the route. */
  authorize?: (request: Request) => boolean | Promise<boolean>;
  /** The account of the route, if neither its path nor its query names one. */
  account?: string;
  /**
   * The profile of the sender, as the app's own sign-in knows it; null if nobody is signed in, who is refused. Nothing
   * that a browser sends besides decides it.
   */
  profile?: ProfileOf;
}

export type ProfileOf = (request: Request) => string | null | Promise<string | null>;

export interface WriteOptions extends ReadOptions {
  /** Whether the sender of a request may trade. There is no default: an open route would trade for everybody. */
  authorize: (request: Request) => boolean | Promise<boolean>;
}

export interface RouteHandlers {
  session(options?: ReadOptions): RouteHandler;
  accounts(options?: ReadOptions): RouteHandler;
  /** The parameter `account`, or `id`, of the path or the query. */
  account(options?: ReadOptions): RouteHandler;
  balance(options?: ReadOptions): RouteHandler;
  positions(options?: ReadOptions): RouteHandler;
  trades(options?: ReadOptions): RouteHandler;
  search(options?: ReadOptions): RouteHandler;
  /** `?symbols=AAPL,MSFT&conids=265598` */
  quotes(options?: ReadOptions): RouteHandler;
  history(options?: ReadOptions): RouteHandler;
  orders(options?: ReadOptions): RouteHandler;
  order(options?: ReadOptions): RouteHandler;
  /** The events of the bridge, passed on as they arrive; a page opens it with `EventSource`. */
  events(options?: ReadOptions): RouteHandler;
  preview(options: WriteOptions): RouteHandler;
  place(options: WriteOptions): RouteHandler;
  change(options: WriteOptions): RouteHandler;
  answer(options: WriteOptions): RouteHandler;
  cancel(options: WriteOptions): RouteHandler;
  /** All of them below one path, for `app/api/bridge/[...path]/route.ts`; the hooks of `/react` use it. */
  all(options: WriteOptions): Record<"GET" | "POST" | "PATCH" | "DELETE", RouteHandler>;
}

/** One request with its parameters. */
class Incoming {
  readonly query: URLSearchParams;

  constructor(readonly request: Request, readonly params: Params, readonly options: ReadOptions) {
    this.query = new URL(request.url).searchParams;
  }

  text(name: string): string | undefined {
    const value = this.params[name] ?? this.query.get(name) ?? undefined;
    return typeof value === "string" && value !== "" ? value : undefined;
  }

  number(name: string): number | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : Number(text);
  }

  list(name: string): string[] {
    return (this.query.get(name) ?? "").split(",").map((each) => each.trim()).filter(Boolean);
  }

  need(name: string): string {
    const value = this.text(name);
    if (value === undefined) throw invalid(`${name} is missing`, name);
    return value;
  }

  get account(): string | undefined {
    return this.text("account") ?? this.options.account;
  }

  get neededAccount(): string {
    const account = this.account ?? this.text("id");
    if (account === undefined) throw invalid("account is missing", "account");
    return account;
  }

  /** The options of an order: the page's own key, so that a second click does not place a second order. */
  get orderOptions(): { idempotencyKey: string | undefined } {
    return { idempotencyKey: this.request.headers.get("idempotency-key") ?? undefined };
  }

  async body<Shape>(): Promise<Shape> {
    try {
      return (await this.request.json()) as Shape;
    } catch {
      throw invalid("the body is not JSON", null);
    }
  }
}

type Work = (bridge: Bridge, incoming: Incoming) => Promise<unknown>;
const WORK = {
  session: (bridge) => bridge.session(),
  accounts: (bridge) => bridge.accounts(),
  account: (bridge, incoming) => bridge.account(incoming.neededAccount),
  balance: (bridge, incoming) => bridge.balance(incoming.account),
  positions: (bridge, incoming) => bridge.positions(incoming.account),
  trades: (bridge, incoming) => bridge.trades(incoming.neededAccount, defined({ days: incoming.number("days") })),
  search: (bridge, incoming) =>
    bridge.search(incoming.need("symbol"), defined({ class: incoming.text("class") as AssetClass | undefined })),
  quotes: (bridge, incoming) => bridge.quotes([...incoming.list("symbols"), ...incoming.list("conids").map(Number)]),
  history: (bridge, incoming) =>
    bridge.history(defined({
      ...{ symbol: incoming.text("symbol"), conid: incoming.number("conid"), period: incoming.text("period") },
      ...{ bar: incoming.text("bar"), outsideHours: incoming.text("outside_hours") === "true" || undefined },
    })),
  orders: (bridge, incoming) =>
    bridge.orders(defined({ state: incoming.text("state") as OrderState | undefined, limit: incoming.number("limit") })),
  order: (bridge, incoming) => bridge.order(incoming.need("id")),
  preview: async (bridge, incoming) => bridge.preview(incoming.neededAccount, await incoming.body<OrderTicket>()),
  place: async (bridge, incoming) =>
    bridge.place(incoming.neededAccount, await incoming.body<OrderTicket>(), incoming.orderOptions),
  change: async (bridge, incoming) =>
    bridge.change(incoming.need("id"), await incoming.body<OrderChange>(), incoming.orderOptions),
  answer: async (bridge, incoming) => {
    const { confirm, question_id } = await incoming.body<{ confirm: unknown; question_id?: string | null }>();
    if (typeof confirm !== "boolean") throw invalid("confirm must be true or false", "confirm");
    return bridge.answer(incoming.need("id"), confirm, defined({ ...incoming.orderOptions, questionId: question_id ?? undefined }));
  },
  cancel: (bridge, incoming) => bridge.cancel(incoming.need("id"), incoming.orderOptions),
} satisfies Record<string, Work>;

const PATHS: readonly [method: string, pattern: RegExp, name: keyof typeof WORK][] = [
  ["GET", /^session$/, "session"],
  ["GET", /^accounts$/, "accounts"],
  ["GET", /^accounts\/(?<account>[^/]+)$/, "account"],
  ["GET", /^accounts\/(?<account>[^/]+)\/positions$/, "positions"],
  ["GET", /^accounts\/(?<account>[^/]+)\/trades$/, "trades"],
  ["GET", /^account\/balance$/, "balance"],
  ["GET", /^positions$/, "positions"],
  ["GET", /^instruments$/, "search"],
  ["GET", /^quotes$/, "quotes"],
  ["GET", /^history$/, "history"],
  ["GET", /^orders$/, "orders"],
  ["GET", /^orders\/(?<id>[^/]+)$/, "order"],
  ["POST", /^accounts\/(?<account>[^/]+)\/orders$/, "place"],
  ["POST", /^accounts\/(?<account>[^/]+)\/orders\/preview$/, "preview"],
  ["PATCH", /^orders\/(?<id>[^/]+)$/, "change"],
  ["POST", /^orders\/(?<id>[^/]+)\/answer$/, "answer"],
  ["DELETE", /^orders\/(?<id>[^/]+)$/, "cancel"],
];

export function routeHandlers(bridge: () => Bridge, transport: Transport): RouteHandlers {
  const of = (profile: string | undefined) => (profile === undefined ? bridge() : bridge().for(profile));
  const handler = (work: Work) => (options: ReadOptions = {}): RouteHandler => (request, context) =>
    respond(request, options, async (profile) => {
      const incoming = new Incoming(request, (await context?.params) ?? {}, options);
      return json(200, await work(of(profile), incoming));
    });
  const handlers = Object.fromEntries(Object.entries(WORK).map(([name, work]) => [name, handler(work)]));
  return {
    ...(handlers as Record<keyof typeof WORK, (options?: ReadOptions) => RouteHandler>),
    events: (options = {}) => (request) => respond(request, options, (profile) => passEvents(transport, request, profile)),
    all: (options) => {
      const route: RouteHandler = (request, context) => respond(request, options, async (profile) => {
        const path = await pathOf(context);
        return path === "events" ? passEvents(transport, request, profile) : dispatch(of(profile), request, path, options);
      });
      return { GET: route, POST: route, PATCH: route, DELETE: route };
    },
  };
}

async function pathOf(context: RouteContext | undefined): Promise<string> {
  const segments = (await context?.params)?.["path"];
  return typeof segments === "string" ? segments : (segments ?? []).join("/");
}

async function dispatch(bridge: Bridge, request: Request, path: string, options: ReadOptions): Promise<Response> {
  for (const [method, pattern, name] of PATHS) {
    const match = method === request.method ? pattern.exec(path) : null;
    if (match !== null) {
      const params = Object.fromEntries(Object.entries(match.groups ?? {}).map(([key, value]) => [key, decodeURIComponent(value)]));
      return json(200, await (WORK[name] as Work)(bridge, new Incoming(request, params, options)));
    }
  }
  throw new BridgeError({ code: "not_bridged", status: 404, message: "the app has no such route", userMessage: APP_FAULT });
}

export const APP_FAULT = "This app sent something that the trading connection does not accept.";

/** Answer a request of a page, whose sender is checked first. */
export async function respond(
  request: Request, options: SenderOptions, work: (profile: string | undefined) => Promise<Response>,
): Promise<Response> {
  try {
    return await work(await checkSender(request, options));
  } catch (error) {
    if (request.signal.aborted) return new Response(null, { status: 499 }); // nobody reads it: the page has gone
    if (!(error instanceof BridgeError)) throw error;
    return json(statusFor(error), forPage(error));
  }
}

type SenderOptions = Pick<ReadOptions, "authorize" | "profile">;

/** A page of another site must not use the sign-in of this one, and the app decides who may. Returns the profile. */
async function checkSender(request: Request, options: SenderOptions): Promise<string | undefined> {
  const site = request.headers.get("sec-fetch-site") ?? "none";
  const isAllowed = ["same-origin", "none"].includes(site) && ((await options.authorize?.(request)) ?? true);
  // A sign-in that finds nobody must not fall back to the profile of the key.
  const profile = options.profile === undefined ? undefined : (await options.profile(request)) || null;
  if (!isAllowed || profile === null) {
    throw new BridgeError({ code: "insufficient_scope", status: 403, message: "the app does not allow it", userMessage: "This is not allowed." });
  }
  return profile;
}

async function passEvents(transport: Transport, request: Request, profile: string | undefined): Promise<Response> {
  const last = request.headers.get("last-event-id");
  const ofSender = profile === undefined ? transport : new Transport({ ...transport.options, profile });
  const reply = await ofSender.open({
    ...{ method: "GET", path: `/events${new URL(request.url).search}`, signal: request.signal },
    headers: last === null ? {} : { "Last-Event-ID": last },
  });
  if (!reply.ok) throw errorOf(reply, await reply.text());
  const headers = { "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store, no-transform" };
  return new Response(reply.body, { headers: { ...headers, "X-Accel-Buffering": "no" } });
}

/** A wrong key of the server is no fault of the page's user, who would be sent to a sign-in by 401. */
function statusFor(error: BridgeError): number {
  if (error.status === 0) return error.code === "bridge_timeout" ? 504 : 503;
  return error.status === 401 ? 502 : error.status;
}

/** What a page may know of an error: no hint and no detail, which are for the developer. */
function forPage(error: BridgeError): Record<string, unknown> {
  return {
    ...{ code: error.code, status: statusFor(error), user_message: error.userMessage, action: error.action, field: error.field },
    ...{ order_id: error.orderId, request_id: error.requestId, retry_after: error.retryAfter, retryable: error.retryAfter !== null },
    ...(error.candidates.length ? { candidates: error.candidates } : {}),
    ...(error.order ? { order: error.order } : {}),
  };
}

export function json(status: number, body: unknown): Response {
  return Response.json(body, { status, headers: { "Cache-Control": "no-store" } });
}

function invalid(message: string, field: string | null): BridgeError {
  return new BridgeError({ code: "validation_failed", status: 422, message, field, userMessage: APP_FAULT });
}

/** An object without the members that are undefined. */
function defined<Shape extends object>(shape: Shape): { [Name in keyof Shape]: Exclude<Shape[Name], undefined> } {
  const members = Object.entries(shape).filter(([, value]) => value !== undefined);
  return Object.fromEntries(members) as { [Name in keyof Shape]: Exclude<Shape[Name], undefined> };
}

// The calls of the bridge as functions. `createBridge()` runs on the app's server, where the key is.

export interface OrderOptions extends CallOptions {
  /** The same call with the same key is carried out once in 24 hours. Without one, each call gets a key of its own. */
  idempotencyKey?: string | undefined;
  /** Ids of IBKR's questions that are answered with yes at once, such as `o163`. */
  confirm?: readonly string[] | undefined;
}

export interface HistoryRequest extends CallOptions {
  symbol?: string;
  conid?: number;
  period?: string;
  bar?: string;
  outsideHours?: boolean;
}

export interface Bridge {
  /** Whether an app can read and trade now, and what its user can do if not. */
  session(options?: CallOptions): Promise<Session>;
  /** Everything the bridge knows of the session and itself, for operators. */
  status(options?: CallOptions): Promise<ProfileStatus>;
  accounts(options?: CallOptions): Promise<AccountList>;
  account(id: string, options?: CallOptions): Promise<Account>;
  /** The balance of one account; it may be left out if the login has one. */
  balance(account?: string, options?: CallOptions): Promise<Balance>;
  /** What one account holds; all accounts together if it is left out. */
  positions(account?: string, options?: CallOptions): Promise<PositionList>;
  trades(account: string, options?: CallOptions & { days?: number }): Promise<TradeList>;
  /** What a symbol stands for; `ambiguous_symbol` with `candidates` if there are several. */
  search(symbol: string, options?: CallOptions & { class?: AssetClass }): Promise<InstrumentSearch>;
  instrument(conid: number, options?: CallOptions): Promise<Instrument>;
  /** Quotes of symbols (text) and of IBKR's numbers. */
  quotes(instruments: readonly (string | number)[], options?: CallOptions): Promise<QuoteList>;
  history(request: HistoryRequest): Promise<History>;
  orders(options?: CallOptions & { state?: OrderState; limit?: number }): Promise<OrderList>;
  order(id: string, options?: CallOptions): Promise<OrderDetails>;
  /** What an order would cost. Nothing is placed. */
  preview(account: string, ticket: OrderTicket, options?: CallOptions): Promise<Preview>;
  /** Place one order, once. Its state is `question` while IBKR asks something: `answer` it. */
  place(account: string, ticket: OrderTicket, options?: OrderOptions): Promise<Order>;
  change(id: string, change: OrderChange, options?: OrderOptions): Promise<Order>;
  answer(id: string, confirm: boolean, options?: OrderOptions & { questionId?: string }): Promise<Order>;
  cancel(id: string, options?: OrderOptions): Promise<Order>;
  /** Session, accounts, positions, orders, trades and quotes as they change, until the signal ends the stream. */
  events(options?: EventOptions): AsyncGenerator<BridgeEvent>;
  /** A token for a page. */
  token(options?: CallOptions & { scope?: Scope; seconds?: number }): Promise<IssuedToken>;
  /** The same calls for another profile: the key of an app reaches several users. */
  for(profile: string): Bridge;
  /** Route handlers for Next.js and other servers with the same form. */
  readonly route: RouteHandlers;
}

/** The bridge at IBKR_BRIDGE_URL, with the key IBKR_BRIDGE_KEY. Both are read at the first call. */
export function createBridge(options: BridgeOptions = {}): Bridge {
  const transport = new Transport(options);
  const calls = { ...reads(transport), ...orderCalls(transport), events: eventsOf(transport) };
  const of = (profile: string): Bridge => createBridge({ ...options, profile });
  const bridge: Bridge = Object.assign(calls, { for: of, route: routeHandlers(() => bridge, transport) });
  return bridge;
}

const at = (...segments: (string | number)[]): string => segments.map((each) => `/${encodeURIComponent(each)}`).join("");

function eventsOf(transport: Transport): Bridge["events"] {
  return (options) => readEvents(transport, options);
}

function reads(transport: Transport) {
  const get = <Answer>(path: string, options: CallOptions = {}, query: Call["query"] = {}): Promise<Answer> =>
    transport.send<Answer>({ method: "GET", path, query, signal: options.signal, wait: options.wait });
  const post = <Answer>(path: string, body: unknown, options: CallOptions = {}): Promise<Answer> =>
    transport.send<Answer>({ method: "POST", path, body, signal: options.signal, wait: options.wait });
  return {
    session: (options) => get("/session", options),
    status: (options) => get("/gateway/status", options),
    accounts: (options) => get("/accounts", options),
    account: (id, options) => get(at("accounts", id), options),
    balance: (account, options) => get("/account/balance", options, { account }),
    positions: (account, options) => get(account === undefined ? "/positions" : at("accounts", account, "positions"), options),
    trades: (account, options) => get(at("accounts", account, "trades"), options, { days: options?.days }),
    search: (symbol, options) => get("/instruments", options, { symbol, class: options?.class }),
    instrument: (conid, options) => get(at("instruments", conid), options),
    quotes: (instruments, options) => get("/quotes", options, quoteQuery(instruments)),
    history: ({ outsideHours, symbol, conid, period, bar, ...options }) =>
      get("/history", options, { symbol, conid, period, bar, outside_hours: outsideHours }),
    orders: (options) => get("/orders", options, { state: options?.state, limit: options?.limit }),
    order: (id, options) => get(at("orders", id), options),
    preview: (account, ticket, options) => post(at("accounts", account, "orders", "preview"), ticket, options),
    token: (options) => post("/auth/token", { scope: options?.scope ?? "read", expires_in: options?.seconds ?? 300 }, options),
  } satisfies Partial<Bridge>;
}

function quoteQuery(instruments: readonly (string | number)[]): Call["query"] {
  const symbols = instruments.filter((each) => typeof each === "string");
  const conids = instruments.filter((each) => typeof each === "number");
  return { symbols, conids };
}

function orderCalls(transport: Transport) {
  return {
    place: (account, ticket, options) => sendOrder(transport, "POST", at("accounts", account, "orders"), ticket, options),
    change: (id, change, options) => sendOrder(transport, "PATCH", at("orders", id), change, options),
    answer: (id, confirm, options) =>
      sendOrder(transport, "POST", at("orders", id, "answer"), { confirm, question_id: options?.questionId ?? null }, options),
    cancel: (id, options) => sendOrder(transport, "DELETE", at("orders", id), undefined, options),
  } satisfies Partial<Bridge>;
}

/** Send an order call once. If its outcome is unknown, the error has the key with which it may be sent again. */
async function sendOrder(
  transport: Transport, method: "POST" | "PATCH" | "DELETE", path: string, body: unknown, options: OrderOptions = {},
): Promise<Order> {
  const idempotencyKey = options.idempotencyKey ?? crypto.randomUUID();
  const headers: Record<string, string> = { "Idempotency-Key": idempotencyKey };
  if (options.confirm?.length) headers["X-Bridge-Confirm"] = options.confirm.join(",");
  try {
    return await transport.send<Order>({ method, path, body, headers, signal: options.signal, wait: options.wait });
  } catch (error) {
    if (error instanceof BridgeError) error.idempotencyKey = idempotencyKey;
    throw error;
  }
}

// Route handlers for the page on which a user of the app connects to IBKR.
//
//     export const { GET, POST, DELETE } = admin.route.connection(user);
//     export const GET = admin.route.callback({ ...user, to: "/connect" });
//
// Whose connection it is, the app's own sign-in decides (`profile`). The key that manages stays on the server.

export interface ConnectionOptions extends Pick<WriteOptions, "authorize"> {
  /** The profile of the sender, as the app's own sign-in knows it; null if nobody is signed in, who is refused. */
  profile: ProfileOf;
}

export interface CallbackOptions extends ConnectionOptions {
  /** The page to which the user returns, such as `/connect`. A failure is added as the code `?problem=`: see `callbackProblem`. */
  to: string;
}

export interface ConnectionHandlers {
  /** GET shows how far it is, POST `{"kind": …}` begins, DELETE ends. */
  connection(options: ConnectionOptions): Record<"GET" | "POST" | "DELETE", RouteHandler>;
  /** POST stores the tokens that IBKR's page shows. */
  tokens(options: ConnectionOptions): RouteHandler;
  /** POST asks IBKR now whether it accepts them. */
  check(options: ConnectionOptions): RouteHandler;
  /** GET is the callback that a company has registered at IBKR. */
  callback(options: CallbackOptions): RouteHandler;
}

const TOKENS = ["consumer_key", "access_token", "access_token_secret"] as const;

export function connectionHandlers(admin: () => Admin): ConnectionHandlers {
  const handler = (options: ConnectionOptions, work: (name: string, request: Request) => Promise<unknown>): RouteHandler =>
    (request) => respond(request, options, async (name) => json(200, await work(name ?? "", request)));
  return {
    connection: (options) => ({
      GET: handler(options, (name) => admin().connection(name)),
      POST: handler(options, async (name, request) => {
        const [kind] = await textsOf(request, ["kind"]);
        return admin().beginConnection(name, { kind: kind as ConnectionKind });
      }),
      DELETE: handler(options, (name) => admin().endConnection(name)),
    }),
    tokens: (options) => handler(options, async (name, request) => {
      // Only what the page shows: a browser must not replace the keys.
      const [consumer_key, access_token, access_token_secret] = await textsOf(request, TOKENS);
      return admin().importCredential(name, { consumer_key, access_token, access_token_secret } as Record<string, string>);
    }),
    check: (options) => handler(options, (name) => admin().checkCredential(name)),
    callback: (options) => (request) => returnFrom(admin(), request, options),
  };
}

/** The texts of a body, which is an object of JSON. */
async function textsOf(request: Request, names: readonly string[]): Promise<string[]> {
  const body = (await request.json().catch(() => null)) as Record<string, unknown> | null;
  return names.map((name) => {
    const value = body?.[name];
    if (typeof value === "string" && value.trim() !== "") return value.trim();
    throw new BridgeError({ code: "validation_failed", status: 422, message: `${name} is missing`, field: name, userMessage: APP_FAULT });
  });
}

/**
 * Take what IBKR's page sent, and send the browser to the app's page, without the tokens in its address. The browser
 * comes from another site; that the request token was made for this user is checked by the bridge.
 */
async function returnFrom(admin: Admin, request: Request, options: CallbackOptions): Promise<Response> {
  const query = new URL(request.url).searchParams;
  const [oauth_token, oauth_verifier] = [query.get("oauth_token"), query.get("oauth_verifier")];
  let problem = ""; // a code and no words: else an address could make the page say anything
  try {
    const name = (await options.authorize(request)) ? await options.profile(request) : null;
    if (name === null) problem = "not_signed_in";
    else if (!oauth_token || !oauth_verifier) problem = "not_agreed";
    else await admin.verifyConnection(name, { oauth_token, oauth_verifier });
  } catch (error) {
    if (!(error instanceof BridgeError)) throw error;
    problem = error.code;
  }
  const location = problem === "" ? options.to : `${options.to}?${new URLSearchParams({ problem })}`;
  return new Response(null, { status: 303, headers: { Location: location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer" } });
}

// Profiles and their connections to IBKR, with the key that manages: IBKR_BRIDGE_ADMIN_KEY. It reaches no account.

export interface Admin {
  profiles(options?: CallOptions): Promise<ProfileList>;
  /** Make a profile. With `app_key`, an app's key reaches it from now on, so that a new user needs no restart. */
  createProfile(profile: NewProfile, options?: CallOptions): Promise<MadeProfile>;
  /** Remove a profile, its credential and its keys. The journal of its orders stays. */
  forgetProfile(name: string, options?: CallOptions): Promise<{ name: string }>;
  addKey(name: string, scope: "read" | "trade", options?: CallOptions): Promise<MadeProfileKey>;
  /** How far a user is who connects to IBKR, and what he should do. */
  connection(name: string, options?: CallOptions): Promise<Connection>;
  beginConnection(name: string, connection: NewConnection, options?: CallOptions): Promise<Connection>;
  /** What the callback received from IBKR's page. It works once, and only for the profile that began. */
  verifyConnection(name: string, returned: ReturnedVerifier, options?: CallOptions): Promise<Connection>;
  /** Sign out, and remove the credential. */
  endConnection(name: string, options?: CallOptions): Promise<Connection>;
  /** Store the tokens of IBKR's page, or a whole credential. */
  importCredential(name: string, members: CredentialMembers, options?: CallOptions): Promise<ImportedCredential>;
  /** Ask IBKR now whether it accepts the credential. */
  checkCredential(name: string, options?: CallOptions): Promise<CheckedCredential>;
  /** Store the keys of a company, with which its users connect. */
  saveConsumer(members: ConsumerMembers, options?: CallOptions): Promise<{ stored: boolean }>;
  forgetConsumer(options?: CallOptions): Promise<{ stored: boolean }>;
  /** Route handlers for the page on which a user connects. */
  readonly route: ConnectionHandlers;
}

/** The bridge at IBKR_BRIDGE_URL, with the key IBKR_BRIDGE_ADMIN_KEY. Both are read at the first call. */
export function createAdmin(options: Omit<BridgeOptions, "profile"> = {}): Admin {
  const calls = adminCalls(new Transport(options, "IBKR_BRIDGE_ADMIN_KEY"));
  const admin: Admin = Object.assign(calls, { route: connectionHandlers(() => admin) });
  return admin;
}

function adminCalls(transport: Transport): Omit<Admin, "route"> {
  const send = <Answer>(method: Call["method"], path: string, body: unknown, options: CallOptions = {}): Promise<Answer> =>
    transport.send<Answer>({ method, path, body, signal: options.signal, wait: options.wait });
  const of = (name: string, part = ""): string => `/profiles/${encodeURIComponent(name)}${part}`;
  return {
    profiles: (options) => send("GET", "/profiles", undefined, options),
    createProfile: (profile, options) => send("POST", "/profiles", profile, options),
    forgetProfile: (name, options) => send("DELETE", of(name), undefined, options),
    addKey: (name, scope, options) => send("POST", of(name, "/keys"), { scope }, options),
    connection: (name, options) => send("GET", of(name, "/connection"), undefined, options),
    beginConnection: (name, connection, options) => send("POST", of(name, "/connection"), connection, options),
    verifyConnection: (name, returned, options) => send("POST", of(name, "/connection/verifier"), returned, options),
    endConnection: (name, options) => send("DELETE", of(name, "/connection"), undefined, options),
    importCredential: (name, members, options) => send("POST", of(name, "/credential"), members, options),
    checkCredential: (name, options) => send("POST", of(name, "/check"), undefined, options),
    saveConsumer: (members, options) => send("PUT", "/consumer", members, options),
    forgetConsumer: (options) => send("DELETE", "/consumer", undefined, options),
  };
}
