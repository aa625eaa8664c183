import MQTTPackets
import MQTTRouting

/// Hooks that are called under the lock, for each receiver of a message: they decide from what they are given, and call
/// nothing of the broker. The edge measures their time, which the core counts.
extension BrokerCore {
    /// Whether a receiver may have a message. One that may not is a copy that is dropped.
    mutating func mayForward(
        _ bytes: Span<UInt8>,
        _ view: PublishView,
        _ publication: inout Publication,
        _ s: Int
    ) -> Bool {
        guard let authorizeForward = configuration.authorizeForward else { return true }
        let c = Int(sessions[s].connection)
        // Host code is not asked what host code may have.
        if c >= 0 && connections[c].isHost { return true }
        let message = makeMessage(&publication, bytes, view)
        let receiver = ForwardReceiver(
            clientID: sessions[s].state.clientID,
            client: c >= 0 ? connections[c].client : nil
        )
        let (isAllowed, nanoseconds) = authorizeForward(message, receiver)
        countHook(nanoseconds)
        if !isAllowed { drop(.notForwarded, s, bytes: view.payload.count, of: message) }
        return isAllowed
    }

    /// The member of a shared subscription that gets a message, which is given where a hook is asked.
    mutating func selectMember(_ group: Int32, for message: Message?, qos: QoS) -> Int32? {
        guard let message, let select = configuration.selectSharedSubscriber else {
            return selectMember(group, qos: qos)
        }
        var members: [Int32] = []
        var candidates: [SharedCandidate] = []
        for member in tree.groups[Int(group)].members {
            let s = Int(tree.subscriptions[Int(member)].session)
            let c = Int(sessions[s].connection)
            guard mayBeSelected(s, qos: qos) else { continue }
            members.append(member)
            candidates.append(
                SharedCandidate(
                    clientID: sessions[s].state.clientID,
                    isConnected: c >= 0,
                    queuedMessages: sessions[s].state.outbound.queued
                )
            )
        }
        guard !members.isEmpty else { return nil }
        let filter = tree.groups[Int(group)].filter
        let (chosen, nanoseconds) = select(SharedSelection(filter: filter, message: message, candidates: candidates))
        countHook(nanoseconds)
        guard let chosen, let at = candidates.firstIndex(where: { $0.clientID.utf8.elementsEqual(chosen.utf8) }) else {
            return selectMember(group, qos: qos)
        }
        return members[at]
    }

    /// At QoS 0 a member without a connection gets nothing.
    private func mayBeSelected(_ s: Int, qos: QoS) -> Bool {
        !sessions[s].isOver && (qos != .atMostOnce || sessions[s].connection >= 0)
    }

    private mutating func countHook(_ nanoseconds: UInt64) {
        statistics.lockedHookCalls &+= 1
        statistics.lockedHookNanoseconds &+= nanoseconds
        statistics.lockedHookNanosecondsMaximum = max(statistics.lockedHookNanosecondsMaximum, nanoseconds)
    }
}

/// A session that a message is for.
public struct ForwardReceiver: Sendable, Hashable {
    /// Its client identifier.
    public let clientID: String
    /// Its client; nil where it has no connection now.
    public let client: ClientInfo?
}

/// A message for one of the members of a shared subscription.
public struct SharedSelection: Sendable {
    /// With `$share/group/`.
    public let filter: String
    /// What one of them is to get.
    public let message: Message
    /// Those that may get it; at QoS 0 only those that are connected.
    public let candidates: [SharedCandidate]
}

/// A member of a shared subscription.
public struct SharedCandidate: Sendable, Hashable {
    /// Of its session.
    public let clientID: String
    /// Whether it has a connection.
    public let isConnected: Bool
    /// Messages at QoS 1 and 2 that wait for it and were not sent on this connection.
    public let queuedMessages: Int
}
