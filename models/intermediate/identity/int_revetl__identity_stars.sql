{{ config(materialized=revetl.view_kind()) }}

{% set rules = revetl.identity_rules() %}
{% set columns = revetl.identifier_columns(rules) %}
{% set names = rules.types | map(attribute='name') | list %}

with messages as (

    select * from {{ ref('revetl', 'int_revetl__identity_messages') }}

),

centred as (

    select
        messages.*,
        case
            {%- for name in names %}
            when {{ name }} is not null then '{{ name }}'
            {%- endfor %}
        end as left_type,
        {{ revetl.first_of(names) }} as left_value,
        {{ revetl.count_of(columns | map(attribute='name')) }} as identifier_count
    from messages

),

-- The first of a message's pairs stands for the message where each message is counted once.
led as (

    select
        *,
        case
            when identifier_count = 1 then left_type
            {%- for column in columns %}
            when {{ column.name }} is not null and left_type <> '{{ column.name }}' then '{{ column.name }}'
            {%- endfor %}
        end as leader
    from centred
    where left_type is not null and timestamp is not null

),

identifiers as (

    {% for column in columns -%}
    select
        '{{ column.name }}' as name,
        '{{ column.type }}' as type
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

paired as (

    select
        led.source,
        led.message_id,
        led.timestamp,
        led.left_type,
        led.left_value,
        identifiers.type as right_type,
        case identifiers.name
            {%- for column in columns %}
            when '{{ column.name }}' then led.{{ column.name }}
            {%- endfor %}
        end as right_value,
        {{ revetl.truth('identifiers.name = led.leader') }} as is_leading
    from led
    cross join identifiers
    where (identifiers.name <> led.left_type) or (led.identifier_count = 1)

),

stars as (

    select * from paired
    where right_value is not null

),

-- The columns of an empty seed have whatever type dbt guesses: text in dbt 1, whole numbers in dbt 2.
typed_cuts as (

    select
        {%- for column in ['left_type', 'left_value', 'right_type', 'right_value'] %}
        cast({{ column }} as {{ revetl.type_of('varchar') }}) as {{ column }},
        {%- endfor %}
        cast(cast(cut_at as {{ revetl.type_of('varchar') }}) as {{ revetl.type_of('timestamp') }}) as cut_at
    from {{ revetl.identity_list('cut_edges') }}

),

-- A cut says that two identifiers are not one person's.
cuts as (

    select
        'cut' as source,
        {{ revetl.hash_text(dbt.concat([
            'left_type', "':'", 'left_value', "' '", 'right_type', "':'", 'right_value'
        ])) }} as message_id,
        coalesce(min(cut_at), cast('1970-01-01' as {{ revetl.type_of('timestamp') }})) as timestamp,
        left_type,
        left_value,
        right_type,
        right_value,
        {{ revetl.truth('false') }} as is_leading
    from typed_cuts
    group by
        left_type,
        left_value,
        right_type,
        right_value

),

sightings as (

    select * from stars
    union all
    select * from cuts

),

numbered as (

    select
        *,
        {{ revetl.node_id('left_type', 'left_value') }} as left_node,
        {{ revetl.node_id('right_type', 'right_value') }} as right_node,
        {{ revetl.hash_columns([
            'source', 'message_id', 'timestamp', 'left_type', 'left_value', 'right_type', 'right_value',
            revetl.hashed_truth('is_leading')
        ]) }} as sighting_hash
    from sightings

)

select * from numbered
