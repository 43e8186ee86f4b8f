/// All that is wrong with a description, each fault with its place:
/// "encoder.layers[3].stride: expected 1 to 4, found 0".
package struct ArchitectureError: Error, Equatable, CustomStringConvertible {
    /// At most `Faults.shown`.
    package let faults: [String]
    package let count: Int

    package var description: String {
        let more = count > faults.count ? "\n  ... and \(count - faults.count) more" : ""
        return count == 1 ? faults[0] : "\(count) faults:\n  " + faults.joined(separator: "\n  ") + more
    }
}

struct Faults {
    /// A malicious description must not cause a message of megabytes.
    static let shown = 40

    private var lines: [String] = []
    private(set) var count = 0
    /// Places with a fault at them or within them.
    private var touched: Set<String> = []

    var isEmpty: Bool { count == 0 }

    /// place: "encoder.layers[3].stride"; "" for the description as a whole.
    mutating func add(_ place: String, _ text: String) {
        note(place, text)
        touchSilently(place)
    }

    /// A fault that leaves shapes as they are: what follows is still checked.
    mutating func note(_ place: String, _ text: String) {
        count += 1
        if lines.count < Faults.shown { lines.append(place.isEmpty ? text : "\(place): \(text)") }
    }

    /// Counts as a place with a fault, without a line of its own.
    mutating func touchSilently(_ place: String) {
        var part = Substring(place)
        while touched.insert(String(part)).inserted {
            guard let cut = part.lastIndex(where: { $0 == "." || $0 == "[" }) else { break }
            part = part[..<cut]
        }
    }

    /// Whether the value at this place, or one within it, has a fault already.
    func touch(_ place: String) -> Bool { touched.contains(place) }

    func throwIfAny() throws {
        if count > 0 { throw ArchitectureError(faults: lines, count: count) }
    }
}

/// Foreign text in a message: printable ASCII, at most 40 characters, in quotes.
package func quoted(_ text: String) -> String {
    var result = "\""
    for (index, scalar) in text.unicodeScalars.enumerated() {
        if index == 40 { return result + "...\"" }
        result += (32..<127).contains(scalar.value) ? String(scalar) : "?"
    }
    return result + "\""
}

/// "relu or sigmoid"
func alternatives<T: CaseIterable & RawRepresentable>(_ type: T.Type) -> String where T.RawValue == String {
    let names = type.allCases.map { "\"\($0.rawValue)\"" }
    return names.count == 1 ? names[0] : names.dropLast().joined(separator: ", ") + " or " + names.last!
}
