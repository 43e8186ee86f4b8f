extension FixedWidthInteger {
    /// Counts come from files and callers and may stand at the end of their range: there they stay.
    package func addingSaturated(_ other: Self) -> Self {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other < 0 ? .min : .max) : sum
    }
}
