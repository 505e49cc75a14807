{% set columns = revetl.identifier_columns(revetl.identity_rules()) | map(attribute='name') | list %}

with messages as (

    select * from {{ ref('revetl', 'int_revetl__identity_sources') }}

),

blocked as (

    select {{ revetl.hash_columns(['identifier_type', 'identifier_value']) }} as blocked_hash
    from {{ revetl.identity_list('blocked_identifiers') }}

),

hashed as (

    select
        cast(timestamp as date) as day,
        {{ revetl.hash_columns(['source', 'message_id', 'timestamp'] + columns) }} as message_hash
    from messages
    where timestamp is not null

),

days as (

    select
        day,
        count(*) as message_count,
        sum(cast(message_hash as {{ revetl.type_of('decimal(38, 0)') }})) as hash_sum
    from hashed
    group by day

),

-- No day's: what is blocked changes messages of any.
seeded as (

    select
        cast(null as date) as day,
        count(*) as message_count,
        sum(cast(blocked_hash as {{ revetl.type_of('decimal(38, 0)') }})) as hash_sum
    from blocked

),

sums as (

    select * from days
    union all
    select * from seeded

)

select * from sums
