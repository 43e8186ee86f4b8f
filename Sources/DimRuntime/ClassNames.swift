/// The rules for names of a classifier's classes, and their text form: a JSON array.
package enum ClassNames {
    package static let mostBytes = 255

    /// What is wrong with a name; nil for one that may be.
    package static func fault(_ name: String) -> String? {
        guard (1...mostBytes).contains(name.utf8.count) else {
            return "is \(name.isEmpty ? "empty" : "over \(mostBytes) bytes long"); expected 1 to \(mostBytes) bytes"
        }
        guard !name.unicodeScalars.contains(where: { $0.value < 32 || (127..<160).contains($0.value) }) else {
            return "holds a control character"
        }
        return nil
    }

    /// Which two classes have the same name, byte for byte; nil where no two have.
    package static func repeated(_ names: [String]) -> (first: Int, second: Int)? {
        var known: [[UInt8]: Int] = [:]
        for (index, name) in names.enumerated() {
            if let first = known.updateValue(index, forKey: Array(name.utf8)) { return (first, index) }
        }
        return nil
    }

    package static func json(_ names: [String]) -> String {
        var text = "["
        for (index, name) in names.enumerated() {
            text += index == 0 ? "\"" : ",\""
            for scalar in name.unicodeScalars {
                if scalar == "\"" || scalar == "\\" { text += "\\" }
                text.unicodeScalars.append(scalar)
            }
            text += "\""
        }
        return text + "]"
    }
}
