import DimArchitecture
import DimFiles
import DimRuntime
import Glibc
import Testing

extension WeightsTests {
    @Suite struct SafetensorsTests {
        let folder = Folder()
        var path: FilePath { FilePath(folder.file("w.safetensors")) }

        @Test(arguments: [notebookNetworks] + notebookNetworks.map { [$0] } + [[.encoder, .classifier]])
        func weightsSurvive(networks: [Network]) throws {
            let state = try randomState(networks, seed: 1)
            try WeightsFile.writeSafetensors(
                state, path: path, metadata: ["architecture": "{\"a\": \"\u{1}\u{e9}\\\"}"])
            expectSame(try WeightsFile.read(path: path), state)
            #expect(folder.names == ["w.safetensors"])
        }

        /// The fields of 8 bytes, and every value where its size requires it.
        @Test func dataIsAligned() throws {
            let state = try randomState([.classifier], seed: 2)
            for length in 0..<9 {
                try WeightsFile.writeSafetensors(
                    state, path: path, metadata: ["note": String(repeating: "x", count: length)])
                let bytes = try read()
                let header = bytes[0..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
                #expect(header % 8 == 0)
                let text = String(decoding: bytes[8..<8 + header], as: UTF8.self)
                #expect(text.hasPrefix("{\"__metadata__\":{\"format\":\"pt\",\"architecture\":\"{"))
                #expect(text.contains(",\"note\":\"\(String(repeating: "x", count: length))\"}"))
                #expect(
                    text.contains(
                        "\"classifier.bn1.num_batches_tracked\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}"
                    ))
            }
        }

        @Test func valuesThatCouldNotBeReadAreNotWritten() throws {
            let good = try randomState([.priorD], seed: 3)
            try WeightsFile.writeSafetensors(good, path: path)
            for value in [Float.nan, .infinity] {
                var bad = good
                let index = try #require(bad.specs.firstIndex { $0.key == "l1.bias" })
                var values = [Float](repeating: 1, count: 200)
                values[199] = value
                bad.values[index] = .floats(try Buffer(values))
                expectError(.notFinite, "prior_d.l1.bias") { try WeightsFile.writeSafetensors(bad, path: path) }
            }
            let long = String(repeating: "x", count: 4 << 20)
            expectError(.tooLarge, "4194304") {
                try WeightsFile.writeSafetensors(good, path: path, metadata: ["class_names": long])
            }
            expectSame(try WeightsFile.read(path: path), good)
            #expect(folder.names == ["w.safetensors"])
        }

        /// Each byte of the header made another one: an error, or the same weights.
        @Test func everyByteOfTheHeader() throws {
            let state = try randomState([.classifier], seed: 4)
            try WeightsFile.writeSafetensors(state, path: path)
            let whole = try read()
            let header = whole[0..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
            var refused = 0
            for at in 0..<8 + header {
                var bytes = whole
                bytes[at] ^= [1, 0x20, 0x80][at % 3]
                try write(bytes)
                do {
                    expectSame(try WeightsFile.read(path: path), state)
                } catch let error as DimError {
                    #expect(error.code == .fileFormat || error.code == .fileContent, "\(error)")
                    refused += 1
                }
            }
            #expect(header > 1000 && refused > header / 2)
        }

        private func read() throws -> [UInt8] {
            let file = try #require(fopen(folder.file("w.safetensors"), "rb"))
            defer { fclose(file) }
            var bytes = [UInt8](repeating: 0, count: 1 << 20)
            let count = fread(&bytes, 1, 1 << 20, file)
            return Array(bytes.prefix(count))
        }

        private func write(_ bytes: [UInt8]) throws {
            let file = try #require(fopen(folder.file("w.safetensors"), "wb"))
            defer { fclose(file) }
            #expect(fwrite(bytes, 1, bytes.count, file) == bytes.count)
        }
    }
}
