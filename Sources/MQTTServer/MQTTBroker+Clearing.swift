import MQTTCore
import MQTTStore

extension MQTTBroker {
    /// Drops what waits for a client, as `DropCause.cleared`, and returns once that is committed. What was sent and is not
    /// acknowledged stays, and so does what is queued from now on.
    ///
    /// - Returns: how many messages there were.
    /// - Throws: `storeFailed` where the store cannot read what it has of the queue.
    @discardableResult
    public func clearQueue(of clientID: String) async throws(HostError) -> Int {
        guard let queue = core.withLock({ core, _ in core.endOfQueue(clientID) }) else {
            throw .noSession(clientID: clientID)
        }
        var count = 0
        while true {
            let step = try host.turn { core, now in core.clearQueue(clientID, queue, at: now) }
            count += step.count
            if step.isDone {
                try await host.wait(for: step.ticket)
                return count
            }
            if let (page, ticket) = step.page {
                // What is not committed cannot be read.
                try await host.wait(for: ticket)
                let messages = try await read(page)
                let isThere = try host.turn { core, now in core.loadToClear(clientID, page, messages, at: now) }
                if !isThere { throw .storeFailed }
            }
            // Between two pages it is others' turn.
            await Task.yield()
        }
    }

    private func read(_ page: StoredPage) async throws(HostError) -> [StoredMessage] {
        do {
            return try await store.messages([page]).first ?? []
        } catch {
            throw .storeFailed
        }
    }
}
