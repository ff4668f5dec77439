-- Tables of the contenders: what the product's ledger has, with the constraints and indexes that its answers rest on, and
-- without those that catch errors of the code itself.
CREATE TABLE customer (
    id uuid PRIMARY KEY,
    username text NOT NULL UNIQUE,
    password text NOT NULL
);

CREATE TABLE token (
    digest bytea PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customer,
    expires_at timestamptz NOT NULL
);

CREATE TABLE account (
    id uuid PRIMARY KEY,
    owner_id uuid NOT NULL REFERENCES customer,
    name text NOT NULL,
    currency char(3) NOT NULL,
    balance numeric(19, 4) NOT NULL CHECK (balance >= 0),
    version bigint NOT NULL,
    status text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX ON account (owner_id, id DESC);

CREATE TABLE movement (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES account,
    idempotency_key text NOT NULL,
    kind text NOT NULL,
    source_id uuid,
    destination_id uuid,
    amount numeric(19, 4) NOT NULL CHECK (amount > 0),
    currency char(3) NOT NULL,
    reference text NOT NULL,
    created_by_id uuid NOT NULL REFERENCES customer,
    created_at timestamptz NOT NULL,
    CONSTRAINT key_is_used_once UNIQUE (account_id, idempotency_key)
);

CREATE TABLE entry (
    id uuid PRIMARY KEY,
    movement_id uuid NOT NULL REFERENCES movement,
    account_id uuid NOT NULL REFERENCES account,
    sequence bigint NOT NULL,
    amount numeric(19, 4) NOT NULL,
    balance_after numeric(19, 4) NOT NULL CHECK (balance_after >= 0),
    created_at timestamptz NOT NULL
);
-- Not unique, because the contender that loses updates could not run.
CREATE INDEX ON entry (account_id, sequence);
CREATE INDEX ON entry (movement_id);
