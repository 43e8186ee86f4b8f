import DimRuntime

/// Lends workspaces to calls; keeps a few that are not lent, for the next calls. Freed with the model.
final class WorkspacePool: Sendable {
    private static let kept = 2
    /// A workspace that grew past this is not kept.
    private static let keptBytes = 256 << 20

    private let idle = Guarded<[Workspace]>([])

    func withWorkspace<T>(_ body: (Workspace) throws -> T) rethrows -> T {
        let workspace = idle.withLock { $0.popLast() } ?? Workspace()
        defer {
            if workspace.bytes <= WorkspacePool.keptBytes {
                idle.withLock { if $0.count < WorkspacePool.kept { $0.append(workspace) } }
            }
        }
        return try body(workspace)
    }
}
