import DimRuntime

/// All problems of a file, reported in one message.
struct Problems {
    /// A malicious file must not cause a message of megabytes.
    private static let shown = 40

    private var lines: [String] = []
    private(set) var count = 0
    private var isFormat = false

    var isEmpty: Bool { count == 0 }
    /// Whether lines that come now are counted only: what is costly to word is left out.
    var isFull: Bool { lines.count == Problems.shown }

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

    /// `advice`: what to do about them, which is no problem itself.
    func throwIfAny(path: FilePath, advice: String? = nil) throws {
        guard !isEmpty else { return }
        var text = "\(path): " + (count == 1 ? "" : "\(count) problems:\n  ") + lines.joined(separator: "\n  ")
        if count > lines.count { text += "\n  ... and \(count - lines.count) more" }
        if let advice { text += (count == 1 ? "; " : "\n  ") + advice }
        throw DimError(isFormat ? .fileFormat : .fileContent, text)
    }
}

/// "(64, 3, 4, 4)", "(64,)", "()", as numpy writes shapes.
func describe(shape: [Int]) -> String {
    "(" + shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? ",)" : ")")
}
