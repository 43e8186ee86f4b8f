/// What went wrong, in the terms of the C contract. The API boundary (DimABI) turns it into a `dim_status` and the message
/// that `dim_last_error()` returns.
package struct DimError: Error, CustomStringConvertible {
    /// Mirrors `dim_status`; the raw values are pinned by `include/dim.h`.
    package enum Code: UInt32, CaseIterable {
        case invalidArgument = 10
        case invalidHandle = 11
        case tooLarge = 12
        case unknownName = 13
        case sizeMismatch = 14
        case missingNetwork = 20
        case io = 30
        case fileFormat = 31
        case fileContent = 32
        case outOfMemory = 40
        case notFinite = 50
        case cancelled = 51
        case `internal` = 90
    }

    package let code: Code
    /// What was expected and what was found, for a person; may hold several lines.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message }
}
