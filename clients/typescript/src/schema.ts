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
