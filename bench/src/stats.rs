//! Medians and percentiles.

/// The middle value, or the mean of the two middle ones; `None` of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(sorted.len() / 2 - 1)?;
    Some(f64::midpoint(lower, upper))
}

/// The smallest value that at least `per_mille` thousandths of all values do not exceed (nearest rank).
pub(crate) fn percentile(sorted: &[u64], per_mille: usize) -> Option<u64> {
    let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value_whatever_the_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_percentile_is_the_value_at_its_nearest_rank() {
        let values: Vec<u64> = (1..=1000).collect();
        assert_eq!(percentile(&values, 500), Some(500));
        assert_eq!(percentile(&values, 990), Some(990));
        assert_eq!(percentile(&values, 999), Some(999));
        assert_eq!(percentile(&values, 1000), Some(1000));
    }

    #[test]
    fn a_percentile_of_few_values_is_one_of_them() {
        assert_eq!(percentile(&[5], 1), Some(5));
        assert_eq!(percentile(&[5], 999), Some(5));
        assert_eq!(percentile(&[1, 9], 500), Some(1));
        assert_eq!(percentile(&[1, 9], 999), Some(9));
        assert_eq!(percentile(&[], 500), None);
    }
}
