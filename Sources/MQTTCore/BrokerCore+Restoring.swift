import MQTTPackets
import MQTTRouting
import MQTTSessions
import MQTTStore

/// The start on what a store has kept, before the first connection: `restore` all, then the messages of each session,
/// then `restored`.
extension BrokerCore {
    /// Takes up sessions, subscriptions and retained messages.
    package mutating func restore(_ state: StoredState, at now: Int64) {
        self.now = now
        if let broker = state.broker {
            nextIncarnation = max(nextIncarnation, broker.lastIncarnation + 1)
            retained.restored(version: broker.lastRetainedVersion)
        }
        for kept in state.retained { retained.restore(kept.message, version: kept.version) }
        // In the order in which they began, whatever order the store has them in.
        for stored in state.sessions.sorted(by: { $0.incarnation < $1.incarnation }) { restore(stored) }
    }

    private mutating func restore(_ stored: StoredSession) {
        var state = BrokerSession(
            clientID: stored.clientID,
            incarnation: stored.incarnation,
            expiryInterval: stored.expiryInterval
        )
        nextIncarnation = max(nextIncarnation, stored.incarnation + 1)
        state.outbound.sendMark = stored.sendMark
        for id in stored.retiredPacketIDs { state.outbound.retire(id) }
        for id in stored.receivedPacketIDs { _ = state.inbound.received(id) }
        state.connectionBegan()
        let s = addSession(state)
        sessions[s].isStored = true
        keepWill(stored.will.map(PendingWill.init), s)
        for subscription in stored.subscriptions.sorted(by: { $0.filter < $1.filter }) { restore(subscription, s) }
        for replay in stored.replays.sorted(by: { $0.sequence < $1.sequence }) {
            sessions[s].replays.restore(RetainedReplay(replay))
        }
        for (topic, sequence) in stored.pulledTopics {
            sessions[s].replays.restorePulled(Array(topic.utf8), through: sequence)
        }
        guard let disconnectedAt = stored.disconnectedAt else { return }
        sessions[s].isStoredDisconnected = true
        let expiry = stored.expiryInterval
        if let will = sessions[s].will {
            sessions[s].willDue = disconnectedAt + min(will.delay, expiry == .max ? .max : Int64(expiry) * 1_000)
        }
        if expiry != .max { sessions[s].endDue = disconnectedAt + Int64(expiry) * 1_000 }
    }

    private mutating func restore(_ subscription: StoredSubscription, _ s: Int) {
        guard let filter = ParsedFilter(subscription.filter) else { return }
        let key = Array(subscription.filter.utf8)
        sessions[s].subscriptions[key] = tree.insert(
            session: Int32(s),
            filter: filter,
            options: subscription.options,
            identifier: subscription.identifier
        )
        count(filter, bytes: key.count, s, 1)
    }

    /// Takes up a page of a session's messages, in the order of their numbers.
    package mutating func restore(_ messages: [StoredMessage], of incarnation: UInt64, clientID: String) {
        guard let s = sessionOfClient[Array(clientID.utf8)].map(Int.init),
            sessions[s].state.incarnation == incarnation
        else { return }
        for stored in messages {
            let group = stored.sharedFilter.isEmpty ? 0 : tree.group(filter: stored.sharedFilter)
            withQueue(s) {
                $0.outbound.restore(
                    stored.number,
                    stored.message,
                    qos: stored.qos,
                    isRetained: stored.isRetained,
                    identifiers: stored.identifiers,
                    group: group
                )
            }
            statistics.copiesRouted &+= 1
        }
    }

    /// All is there: who was connected when the broker ended has lost the connection now.
    package mutating func restored(_ state: StoredState, at now: Int64) {
        self.now = now
        for stored in state.sessions {
            guard let s = sessionOfClient[Array(stored.clientID.utf8)].map(Int.init) else { continue }
            sessions[s].state.outbound.restored(nextNumber: stored.nextNumber)
            guard stored.disconnectedAt == nil else {
                armSessionTimer(s)
                continue
            }
            restoreConnected(s)
        }
    }

    /// What is due is done by the timer, a page at a time, and not at once for all sessions.
    private mutating func restoreConnected(_ s: Int) {
        let expiry = sessions[s].state.expiryInterval
        if let will = sessions[s].will {
            sessions[s].willDue = now + min(will.delay, expiry == .max ? .max : Int64(expiry) * 1_000)
        }
        if expiry != .max { sessions[s].endDue = now + Int64(expiry) * 1_000 }
        guard sessions[s].willDue != nil || sessions[s].endDue != nil else { return }
        sessions[s].isStoredDisconnected = true
        changeStored(s) { [now] in .sessionDisconnected(incarnation: $0, at: now) }
        armSessionTimer(s)
    }
}
