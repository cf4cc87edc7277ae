//! What memory-svc is held against: the rows and targets of the issue that it was built for.

use super::Who;
use crate::report::{Limit, Row, Sheet, Target, bound, row, target};

/// What was measured of the contenders.
pub type Samples = crate::report::Samples<Who>;

const SEARCH_COLUMNS: &[(Who, &str)] = &[
    (Who::Ours, "memory-svc, gRPC"),
    (Who::Store, "its store, in process"),
    (Who::Lance, "LanceDB's index, in process"),
    (Who::Chroma, "Chroma, HTTP"),
];

const SEARCH_ROWS: &[Row] = &[
    row("p50", "a search, p50, ms", 2),
    row("p99", "a search, p99, ms", 2),
    row("recall", "recall@10", 3),
    row("held after", "a start reads them into memory in, s", 1),
    row("resident", "resident memory, peak since the start, MiB", 0),
];

/// The search for what is near, in a store of the size that the targets are about.
pub const SEARCH: Sheet<Who> = Sheet {
    columns: SEARCH_COLUMNS,
    rows: SEARCH_ROWS,
    targets: &[
        target(
            "a search, p50, over Chroma's: ≤ 0.5",
            ("p50", Who::Ours),
            ("p50", Who::Chroma),
            Limit::AtMost(0.5),
        ),
        target(
            "a search, p99, over Chroma's: ≤ 0.5",
            ("p99", Who::Ours),
            ("p99", Who::Chroma),
            Limit::AtMost(0.5),
        ),
        bound("recall@10: ≥ 0.95", ("recall", Who::Ours), Limit::AtLeast(0.95)),
        bound("gRPC adds, ms: ≤ 0.3", ("grpc", Who::Ours), Limit::AtMost(0.3)),
    ],
};

/// The same in a store of another size.
pub const SEARCH_REPORTED: Sheet<Who> = Sheet {
    columns: SEARCH_COLUMNS,
    rows: SEARCH_ROWS,
    targets: &[
        target(
            "a search, p50, over Chroma's",
            ("p50", Who::Ours),
            ("p50", Who::Chroma),
            Limit::None,
        ),
        target(
            "a search, p99, over Chroma's",
            ("p99", Who::Ours),
            ("p99", Who::Chroma),
            Limit::None,
        ),
        bound("recall@10: ≥ 0.95", ("recall", Who::Ours), Limit::AtLeast(0.95)),
        bound("gRPC adds, ms: ≤ 0.3", ("grpc", Who::Ours), Limit::AtMost(0.3)),
    ],
};

const INGEST_ROWS: &[Row] = &[
    row("ingest", "text a second, until it is stored, kB", 1),
    row("pieces", "pieces a second", 1),
    row("ingest peak", "resident memory, peak, MiB", 0),
];

const INGEST_TARGETS: &[Target<Who>] = &[target(
    "text a second, over sentence-transformers and Chroma: ≥ 1.5",
    ("ingest", Who::Ours),
    ("ingest", Who::Chroma),
    Limit::AtLeast(1.5),
)];

/// Taking documents in.
pub const INGEST: Sheet<Who> = Sheet {
    columns: &[
        (Who::Ours, "memory-svc, gRPC"),
        (Who::Chroma, "sentence-transformers and Chroma, embedded"),
    ],
    rows: INGEST_ROWS,
    targets: INGEST_TARGETS,
};
