extension FixedWidthInteger {
    /// Counts come from files and callers and may be at the end of their range: they stay there.
    package func addingSaturated(_ other: Self) -> Self {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other < 0 ? .min : .max) : sum
    }
}
