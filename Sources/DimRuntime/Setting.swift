import Glibc

/// One variable of the environment, read once. Upper case, lower case and blanks around the value do not matter.
package struct Setting: Sendable {
    package let name: String
    /// In lower case; nil where the variable is not set or blank.
    package let value: String?

    package init(_ name: String) {
        self.name = name
        value = getenv(name).flatMap { Setting.trimmed(String(cString: $0)) }
    }

    private static func trimmed(_ text: String) -> String? {
        let scalars = Array(text.unicodeScalars)
        let isBlank = { (scalar: Unicode.Scalar) in scalar.properties.isWhitespace }
        guard let first = scalars.firstIndex(where: { !isBlank($0) }),
            let last = scalars.lastIndex(where: { !isBlank($0) })
        else { return nil }
        var result = ""
        result.unicodeScalars.append(contentsOf: scalars[first...last])
        return result.lowercased()
    }

    /// What `dim_build_info` says of a value that is none: "DIM_CONV=fast (expected direct or winograd)". One short line,
    /// whatever the value holds.
    package func fault(expected: String) -> String {
        let shown = (value ?? "").unicodeScalars.prefix(40).map {
            (0x20..<0x7f).contains($0.value) ? Character($0) : "?"
        }
        return "\(name)=\(String(shown)) (expected \(expected))"
    }
}
