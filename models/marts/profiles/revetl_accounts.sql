{% set traits = revetl.declared_traits('account_traits') %}

with group_messages as (

    select * from {{ ref('revetl', 'stg_revetl__groups') }}

),

members as (

    select * from {{ ref('revetl', 'revetl_account_members') }}

),

described as (

    select
        {{ revetl.account_id('group_id') }} as account_id,
        message_id,
        {%- for trait in traits %}
        {{ revetl.trait_value(trait.path or trait.name) }} as {{ revetl.quoted(trait.name) }},
        {%- endfor %}
        timestamp
    from group_messages

),

-- Nothing takes nothing away: each trait is the last value that was said, whenever it arrived.
set_last as (

    select
        account_id,
        {%- for trait in traits %}
        {%- set column = revetl.quoted(trait.name) %}
        {{ revetl.last_value_by(column, 'timestamp', 'message_id') }} as {{ column }},
        {%- endfor %}
        min(timestamp) as first_seen_at,
        max(timestamp) as last_seen_at
    from described
    where account_id is not null
    group by account_id

),

counted as (

    select
        account_id,
        count(*) as member_count
    from members
    group by account_id

),

accounts as (

    select
        set_last.account_id,
        {%- for trait in traits %}
        {%- set column = 'set_last.' ~ revetl.quoted(trait.name) %}
        {%- if trait.data_type != 'varchar' %}
        {%- set column = revetl.fitted(trait, column) ~ ' as ' ~ revetl.quoted(trait.name) %}
        {%- endif %}
        {{ column }},
        {%- endfor %}
        set_last.first_seen_at,
        set_last.last_seen_at,
        coalesce(counted.member_count, 0) as member_count
    from set_last
    left join counted
        on set_last.account_id = counted.account_id

)

select * from accounts
