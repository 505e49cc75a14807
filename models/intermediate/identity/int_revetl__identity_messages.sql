{{ config(materialized=revetl.view_kind()) }}

{% set rules = revetl.identity_rules() %}
{% set columns = revetl.identifier_columns(rules) %}
{% set names = columns | map(attribute='name') | list %}
{% set increment = revetl.identity_increment() %}
{% set sighted = revetl.relation_there('int_revetl__identity_sightings') if increment else none %}

with messages as (

    select * from {{ ref('revetl', 'int_revetl__identity_sources') }}

),

texts as (

    select
        source,
        message_id,
        {%- for column in columns %}
        cast({{ column.name }} as {{ revetl.type_of('varchar') }}) as {{ column.name }},
        {%- endfor %}
        timestamp
    from messages

),

trimmed as (

    select
        source,
        message_id,
        {%- for column in columns %}
        {{ revetl.trimmed(column.name) }} as {{ column.name }},
        {%- endfor %}
        timestamp
    from texts

),

normalised as (

    select
        source,
        message_id,
        {%- for column in columns %}
        {%- set plain = revetl.plain_identifier(column.name) %}
        {{ revetl.normalised_identifier(plain, column.normalise) }} as {{ column.name }},
        {%- endfor %}
        timestamp
    from trimmed

),

blocked_values as (

    select distinct
        cast(identifier_type as {{ revetl.type_of('varchar') }}) as identifier_type,
        cast(identifier_value as {{ revetl.type_of('varchar') }}) as identifier_value
    from {{ revetl.identity_list('blocked_identifiers') }}

),

unblocked as{{ revetl.read_in_part() }} (

    select
        normalised.source,
        normalised.message_id,
        {%- for column in columns %}
        case
            when
                blocked_{{ column.name }}.identifier_value is null
                and not {{ revetl.is_blocked('normalised.' ~ column.name, column.blocked) }}
                then {{ revetl.other_than_user_id(column.name, names) }}
        end as {{ column.name }},
        {%- endfor %}
        normalised.timestamp
    from normalised
    {{ revetl.joins_of_blocked(columns) }}

),

{% if 'previous_anonymous_id' in names -%}
previous as (

    select previous_anonymous_id
    from unblocked
    where previous_anonymous_id is not null

),

-- The previous id of an alias is a user id, unless it has been somebody's anonymous id. (By `in`, as a join
-- would have all messages' identifiers made where there is no alias.)
anonymous as (

    select distinct unblocked.anonymous_id
    from unblocked
    where unblocked.anonymous_id in (select previous.previous_anonymous_id from previous)
    {%- if sighted is not none %}
    -- The other messages are as they were sighted.
    {{ revetl.union_distinct() }}
    select seen.anonymous_id
    from (
        {%- for side in ['left', 'right'] %}
        select
            source,
            message_id,
            timestamp,
            {{ side }}_value as anonymous_id
        from {{ sighted }}
        where
            {{ side }}_type = 'anonymous_id'
            and {{ side }}_value in (select previous.previous_anonymous_id from previous)
        {{ 'union all' if not loop.last }}
        {%- endfor %}
    ) as seen
    where {{ revetl.in_no_part('seen', revetl.identity_parts(revetl.changed_days())) }}
    {%- endif %}

),

placed as (

    select
        unblocked.source,
        unblocked.message_id,
        {%- for column in columns if not column.name.startswith('previous') %}
        unblocked.{{ column.name }},
        {%- endfor %}
        case when anonymous.anonymous_id is null then unblocked.previous_user_id end as previous_user_id,
        anonymous.anonymous_id as previous_anonymous_id,
        unblocked.timestamp
    from unblocked
    left join anonymous
        on unblocked.previous_anonymous_id = anonymous.anonymous_id

)
{%- else -%}
placed as (

    select * from unblocked

)
{%- endif %}

select * from placed
