{{ config(materialized=revetl.view_kind(), enabled=revetl.has_part('membership')) }}

with changes as (

    select * from {{ revetl.live(revetl.state_table('audience_changes')) }}
    where {{ revetl.of_this_target() }}

),

followed as (

    select
        audience,
        {{ revetl.quoted('key') }},
        change,
        changed_at,
        lead(changed_at) over (
            partition by audience, {{ revetl.quoted('key') }}
            order by recorded_at
        ) as next_changed_at,
        recorded_at
    from changes

),

stays as (

    select
        audience,
        {{ revetl.quoted('key') }},
        changed_at as entered_at,
        next_changed_at as left_at,
        recorded_at
    from followed
    where change = 'entered'

)

select * from stays
