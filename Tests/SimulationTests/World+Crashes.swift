import MQTTCore
import MQTTPackets
import MQTTStore
import MQTTStoreTesting
import NIOCore

/// The process ends at any instant, and another starts on what the store has kept.
extension World {
    func crash() throws {
        crashes += 1
        try settleStore(taking: true)
        let state = try restartStore()
        for client in clients { forget(client) }
        for link in links where !link.isGone {
            link.cut(keeping: &random)
            link.isGone = true
            link.hasEnded = true
            link.toBroker.clear()
        }
        links.removeAll(where: \.isOver)
        pending = []
        reading = []
        loops = Array(repeating: Loop(), count: configuration.loops)
        core = BrokerCore(configuration: configuration)
        beginObserving()
        store = StoreModel(of: kept)
        changes = []
        retained = kept.retainedPayloads
        core.restore(state, at: now)
        try settleStore()
        try checkFigures()
        journal?.plan()
    }

    /// What the broker had of a client and was not kept.
    private func forget(_ client: SimulatedClient) {
        countWills(of: client)
        client.mayHaveRepetitions = true
        let session = kept.sessions.values.first { $0.clientID == client.name && $0.expiryInterval > 0 }
        client.brokerHolds = session?.receivedPacketIDs ?? []
        client.current = [:]
        for wanted in (session?.subscriptions ?? [:]).values {
            client.current[wanted.filter] = SimulatedSubscription(
                wanted.filter,
                wanted.options,
                identifier: wanted.identifier
            )
        }
    }

    // MARK: The store

    /// Whether what the store was given last is committed now. Where it fails, the process ends and another begins.
    func hasCommitted(through ticket: UInt64) throws -> Bool {
        let (contents, batch) = contents(through: ticket)
        if journal != nil {
            let result = try journal?.unlessItEnds { try $0.commit(batch, contents: contents) }
            guard let isCommitted = result else {
                note("the store fails")
                try crash()
                return false
            }
            note("the store has committed through \(ticket): \(isCommitted)")
            guard isCommitted else { return false }
        }
        kept = contents
        changes.removeFirst(batch.count)
        return true
    }

    private func contents(through ticket: UInt64) -> (StoreContents, [StoreChange]) {
        let batch = changes.prefix { $0.ticket <= ticket }.map(\.change)
        var contents = kept
        contents.apply(batch)
        return (contents, batch)
    }

    /// What the store is opened with after a crash: a commit under way has come to last, or not.
    private func restartStore() throws -> StoredState {
        if random.oneIn(4) { try journal?.flipBit() }
        guard let state = try journal?.restart() else {
            let through = store.committing.flatMap { random.oneIn(2) ? $0 : nil } ?? store.committed
            note("crash \(crashes): tickets up to \(through) of \(store.ticket) are kept")
            kept = contents(through: through).0
            return kept.state
        }
        kept = journal?.committed ?? kept
        note("crash \(crashes): \(state.sessions.count) sessions and \(state.retained.count) retained are kept")
        return state
    }

    /// Pages of what is committed; nil where the store fails, and the process with it.
    func readStore(_ pages: [StoredPage]) throws -> [[StoredMessage]]? {
        guard journal != nil else { return pages.map { kept.page($0) } }
        let read = try journal?.unlessItEnds { journal in try pages.map { try journal.messages($0) } }
        guard let read else {
            note("the store fails")
            try crash()
            return nil
        }
        return read
    }

    // MARK: Wills

    /// The core has parted a connection from its session.
    func willEnds(with link: Link) {
        let client = link.client
        guard client.plan.connect.will != nil else { return }
        guard !link.leftInOrder else { return client.parted.append(link) }
        note("the will of \(client.name) is due")
        client.willsDue += 1
        if !link.monitor.hasConnack { client.willsInDoubt += 1 }
    }

    /// The broker has crashed: who was told of its connection has lost it. Who was not told of its beginning, or not of
    /// its end by the close, may have been connected or not.
    private func countWills(of client: SimulatedClient) {
        defer { client.parted = [] }
        guard client.plan.connect.will != nil else { return }
        let current = links.filter { $0.client === client && $0.wasAccepted && !$0.hasEnded }
        if current.contains(where: \.monitor.hasConnack) {
            note("the will of \(client.name) is due, since it was connected")
            client.willsDue += 1
        } else if !current.isEmpty || client.parted.contains(where: { !$0.isClosing }) {
            client.willsBroughtBack += 1
        }
    }
}
