import DimRuntime
import Testing

@Suite struct MemoryTests {
    /// An optimiser leaves out a block that nobody uses, and takes it for had.
    @Test func whatCannotBeHadIsAskedFor() throws {
        try requireMemory(1 << 20)
        let error = #expect(throws: DimError.self) { try requireMemory(1 << 60) }
        #expect(error?.code == .outOfMemory)
    }
}
