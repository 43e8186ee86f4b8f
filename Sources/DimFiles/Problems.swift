import DimRuntime

/// All that is wrong with a file, told at once: who mends one thing after the other needs the whole list.
struct Problems {
    /// A hostile file must not make a message of megabytes.
    private static let shown = 40

    private var lines: [String] = []
    private var count = 0
    private var isFormat = false

    var isEmpty: Bool { count == 0 }

    /// Names, shapes, types or values that do not fit.
    mutating func content(_ line: String) {
        count += 1
        if lines.count < Problems.shown { lines.append(line) }
    }

    /// Damage, or a feature of HDF5 that is refused.
    mutating func format(_ line: String) {
        isFormat = true
        content(line)
    }

    func throwIfAny(path: String) throws {
        guard !isEmpty else { return }
        var text = "\(path): " + (count == 1 ? "" : "\(count) problems:\n  ") + lines.joined(separator: "\n  ")
        if count > lines.count { text += "\n  ... and \(count - lines.count) more" }
        throw DimError(isFormat ? .fileFormat : .fileContent, text)
    }
}

/// "(64, 3, 4, 4)", "(64,)", "()", as numpy writes shapes.
func describe(shape: [Int]) -> String {
    "(" + shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? ",)" : ")")
}

/// A name from a file, fit for a terminal and a message: control characters escaped, its length bounded.
func printable(_ name: String, most: Int = 200) -> String {
    var text = ""
    for scalar in name.unicodeScalars.prefix(most) {
        if scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) {
            text += "\\x" + (scalar.value < 0x10 ? "0" : "") + String(scalar.value, radix: 16)
        } else {
            text.unicodeScalars.append(scalar)
        }
    }
    return name.unicodeScalars.count > most ? text + "..." : text
}
