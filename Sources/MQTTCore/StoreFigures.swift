import MQTTStore

/// What the store says of itself, for `$SYS`.
struct StoreFigures: Sendable {
    private var now = StoreStatistics()
    private var lastPublished = StoreStatistics()
    /// The longest wait since the last publication, in microseconds.
    private var longestWait: UInt64 = 0

    mutating func hear(_ statistics: StoreStatistics) {
        now = statistics
        longestWait = max(longestWait, statistics.syncMicrosecondsMax)
    }

    /// What is published after so many milliseconds.
    mutating func takeLines(interval: Int64) -> [(topic: String, payload: String)] {
        let commits = now.commits - lastPublished.commits
        let perCommit = 1 / Double(max(1, commits))
        let changes = Double(now.changes - lastPublished.changes) * perCommit
        let wait = Double(now.syncMicroseconds - lastPublished.syncMicroseconds) * perCommit
        defer {
            lastPublished = now
            longestWait = 0
        }
        return [
            ("store/commits/count", "\(now.commits)"),
            ("store/commits/rate", SystemTopics.text(Double(commits) * 1_000 / Double(interval))),
            ("store/commits/changes", SystemTopics.text(changes)),
            ("store/sync/mean", SystemTopics.text(wait)),
            ("store/sync/longest", "\(longestWait)"),
            ("store/bytes/live", "\(now.liveBytes)"),
            ("store/bytes/total", "\(now.totalBytes)"),
            ("store/full", now.isFull ? "1" : "0"),
            ("store/failure", now.lastFailure ?? "none"),
        ]
    }
}
