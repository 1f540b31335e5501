//! The pipelines that are part of the program.

/// File name and text of each.
pub(super) const FILES: &[(&str, &str)] = &[
    ("default.toml", include_str!("../../../pipelines/default.toml")),
    ("banking.toml", include_str!("../../../pipelines/banking.toml")),
    ("insurance.toml", include_str!("../../../pipelines/insurance.toml")),
    ("restaurant.toml", include_str!("../../../pipelines/restaurant.toml")),
    ("hotel.toml", include_str!("../../../pipelines/hotel.toml")),
    ("retail.toml", include_str!("../../../pipelines/retail.toml")),
    ("real_estate.toml", include_str!("../../../pipelines/real_estate.toml")),
    ("healthcare.toml", include_str!("../../../pipelines/healthcare.toml")),
    ("education.toml", include_str!("../../../pipelines/education.toml")),
];
