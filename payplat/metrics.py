"""What is counted and measured: every metric of payplat with its help, in one place. ``docs/metrics.md`` explains them.

Labels are names of the configuration, codes and results: never an order, a user or an address. Each process counts for
itself.
"""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

# When a counter began is when its process did, which process_start_time_seconds says once.
disable_created_metrics()  # type: ignore[no-untyped-call]

# --- Doors ---
REFUSED = Counter(
    "payplat_refused_total", "Requests answered with an error, by its code.", ["code"]
)
FORGED = Counter(
    "payplat_forged_total", "Evidence refused because its provider did not sign it.", ["channel"]
)

# --- Ledger ---
ORDERS_OPENED = Counter("payplat_orders_opened_total", "Orders opened.", ["channel"])
VERDICTS = Counter(
    "payplat_verdicts_total",
    "Verdicts settled, by what came of them; the channel is empty where they name no order of ours.",
    ["channel", "result"],
)
PUT_ASIDE = Counter(
    "payplat_put_aside_total", "Authentic evidence that a person must look at.", ["kind", "result"]
)
CONFIRMATION_SECONDS = Histogram(
    "payplat_confirmation_seconds",
    "From an order's opening to its payment in the ledger.",
    ["channel"],
    buckets=(1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 6 * 3600, 86400),
)
GROUP_SIZE = Histogram(
    "payplat_group_commit_items",
    "Items handed to one group commit.",
    buckets=(1, 2, 4, 8, 16, 32, 64),
)

# --- Deliveries and duties ---
DELIVERY_ATTEMPTS = Counter(
    "payplat_delivery_attempts_total",
    "Attempts to deliver, by outcome: acknowledged, refused (any status but 2xx), no_answer.",
    ["endpoint", "outcome"],
)
DELIVERY_SECONDS = Histogram(
    "payplat_delivery_seconds",
    "From an event's making to its endpoint's acknowledgement.",
    ["endpoint"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600, 6 * 3600, 86400),
)
OVERDUE_DUTIES = Counter(
    "payplat_overdue_duties_total", "Failed tries at duties older than a day.", ["channel", "what"]
)

# --- Calls to others ---
CALL_SECONDS = Histogram(
    "payplat_call_seconds",
    "Calls to others, by outcome: the class of the HTTP status (2xx to 5xx) or no_answer.",
    ["counterpart", "outcome"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

CIRCUIT_OPEN = Gauge(
    "payplat_circuit_open",
    "Circuits that are open: calls to the counterpart fail at once, as it has not answered for a while.",
    ["counterpart"],
)

# --- Configuration ---
CREDENTIAL_EXPIRES = Gauge(
    "payplat_credential_expires_timestamp_seconds",
    "When a certificate that a channel was configured with ends, in seconds since 1970.",
    ["channel", "credential"],
)

# --- Backlog, read from the database when it is asked for ---
DELIVERIES_WAITING = Gauge(
    "payplat_deliveries_waiting", "Deliveries that are not acknowledged yet.", ["endpoint"]
)
DELIVERIES_OVERDUE = Gauge(
    "payplat_deliveries_overdue_seconds",
    "For how long the longest due delivery has been waiting for its attempt.",
    ["endpoint"],
)
DELIVERIES_EXHAUSTED = Gauge(
    "payplat_deliveries_exhausted", "Deliveries that were given up.", ["endpoint"]
)
DUTIES_WAITING = Gauge(
    "payplat_duties_waiting", "Duties towards a provider that are not done yet.", ["channel"]
)
DUTIES_OVERDUE = Gauge(
    "payplat_duties_overdue_seconds",
    "For how long the longest due duty has been waiting for its try.",
    ["channel"],
)
DUTIES_EXHAUSTED = Gauge("payplat_duties_exhausted", "Duties that were given up.", ["channel"])
CHECKS_WAITING = Gauge(
    "payplat_checks_waiting", "Pending orders about which the provider will be asked.", ["channel"]
)
CHECKS_OVERDUE = Gauge(
    "payplat_checks_overdue_seconds",
    "For how long the longest due check of a pending order has been waiting.",
    ["channel"],
)
ORDERS_HELD = Gauge(
    "payplat_orders_held", "Orders whose money waits for an operator's decision.", ["channel"]
)

# --- This process ---
DATABASE_UP = Gauge("payplat_database_up", "Whether the backlog could be read: 1 or 0.")
CONNECTIONS_IN_USE = Gauge(
    "payplat_database_connections_in_use", "Database connections that work at this moment."
)
CONNECTIONS_MOST = Gauge(
    "payplat_database_connections_most", "Database connections that the process may have."
)
LOOP_LAG_SECONDS = Histogram(
    "payplat_loop_lag_seconds",
    "How much later than due the event loop came to a timer.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
