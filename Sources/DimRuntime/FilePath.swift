/// The path of a file as the system takes it: bytes without a NUL among them, in no encoding that anybody promised. Paths are
/// never compared, cut or passed on as text; `description` alone is text, for messages.
package struct FilePath: CustomStringConvertible {
    package let bytes: [UInt8]

    /// Up to the first NUL.
    package init(_ bytes: some Sequence<UInt8>) {
        self.bytes = Array(bytes.prefix { $0 != 0 })
    }

    package init(_ text: String) { self.init(text.utf8) }

    package init(cString: UnsafePointer<CChar>) {
        var bytes: [UInt8] = []
        var next = cString
        while next.pointee != 0 {
            bytes.append(UInt8(bitPattern: next.pointee))
            next += 1
        }
        self.bytes = bytes
    }

    package func withCString<Result>(_ body: (UnsafePointer<CChar>) throws -> Result) rethrows -> Result {
        try (bytes + [0]).withUnsafeBufferPointer { buffer in
            try buffer.withMemoryRebound(to: CChar.self) { try body($0.baseAddress!) }
        }
    }

    /// For messages: UTF-8 as it is, other bytes and what is not `printable` escaped. Of its own description the same again.
    package var description: String {
        var text = ""
        var iterator = bytes.makeIterator()
        var parser = Unicode.UTF8.ForwardParser()
        var position = 0
        while true {
            switch parser.parseScalar(from: &iterator) {
            case .valid(let encoded):
                append(UTF8.decode(encoded), to: &text)
                position += encoded.count
            case .error(let length):
                for byte in bytes[position..<position + length] { text += escape(UInt32(byte)) }
                position += length
            case .emptyInput: return text
            }
        }
    }
}

/// Text from a file, fit for a terminal and a message: escaped is what moves the cursor, turns the direction of writing or
/// cannot be seen; its length is bounded.
package func printable(_ name: String, most: Int = 200) -> String {
    var text = ""
    for scalar in name.unicodeScalars.prefix(most) { append(scalar, to: &text) }
    return name.unicodeScalars.count > most ? text + "..." : text
}

private func append(_ scalar: Unicode.Scalar, to text: inout String) {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
        text += escape(scalar.value)
    default: text.unicodeScalars.append(scalar)
    }
}

/// As Python writes them: \x1b, \u202e, \U000e0041.
private func escape(_ value: UInt32) -> String {
    let (mark, width) = value < 0x100 ? ("\\x", 2) : value < 0x10000 ? ("\\u", 4) : ("\\U", 8)
    let digits = String(value, radix: 16)
    return mark + String(repeating: "0", count: width - digits.count) + digits
}
