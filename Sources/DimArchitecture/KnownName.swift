extension String {
    /// For comparisons with names that the library knows, all of ASCII: each byte beyond ASCII is a '?', which none of them has.
    ///
    /// String's own comparisons and hashes bring a text into canonical order first; of a file's or a caller's that takes time
    /// which grows with the square of a row of combining marks.
    package var knownName: String {
        utf8.allSatisfy { $0 < 0x80 }
            ? self : String(decoding: utf8.map { $0 < 0x80 ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }
}
