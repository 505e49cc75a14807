{# What destinations know the people by whom they hold, as a query: sync, key, identifier_type,
   identifier_value. The key and the identifiers carry no type (null), for a destination's `id` or
   `external_id` can be any column of the audience; among the fields only those that are named as an
   identifier's type are read, with that type. #}
{% macro held_identifiers() %}
{% set identifiers = ['external_id', 'email', 'phone', 'user_id', 'userId', 'anonymous_id', 'anonymousId', 'id'] %}
{% set fields = ['user_id', 'anonymous_id', 'email', 'phone'] %}
    select
        sync,
        {{ revetl.quoted('key') }},
        cast(null as {{ revetl.type_of('varchar') }}) as identifier_type,
        {{ revetl.normalised(revetl.quoted('key')) }} as identifier_value
    from {{ revetl.live(revetl.state_table('sync_state')) }}
    {%- for column, names in {'identifiers': identifiers, 'fields': fields}.items() %}
    {%- for name in names %}
    union all
    select
        sync,
        {{ revetl.quoted('key') }},
        cast({{ "'" ~ revetl.folded_name(name) ~ "'" if column == 'fields' else 'null' }} as {{ revetl.type_of('varchar') }}),
        {{ revetl.normalised(revetl.json_text(revetl.as_json(column), name)) }}
    from {{ revetl.live(revetl.state_table('sync_state')) }}
    where {{ column }} like '%"{{ name }}"%'
    {%- endfor %}
    {%- endfor %}
{% endmacro %}

{# Who is held though suppressed, as a query over the relations `held` (of held_identifiers) and `suppressions`:
   sync, key, suppressed_at. #}
{% macro suppressed_and_held(held, suppressions) %}
    select
        held.sync,
        held.{{ revetl.quoted('key') }},
        min(suppressions.suppressed_at) as suppressed_at
    from {{ held }} as held
    inner join {{ suppressions }} as suppressions
        on
            held.identifier_value = {{ revetl.normalised('suppressions.identifier_value') }}
            and coalesce(held.identifier_type, {{ revetl.folded_type('suppressions.identifier_type') }})
            = {{ revetl.folded_type('suppressions.identifier_type') }}
    where held.identifier_value <> ''
    group by
        held.sync,
        held.{{ revetl.quoted('key') }}
{% endmacro %}

{# The members of the tested audience who are suppressed, as a query: key. As a sync sees it: by any column that is
   named as a suppressed identifier's type is. #}
{% macro suppressed_members(key) %}
    {% set suppressions = revetl.state_table('suppressions') %}
    {% set columns = [] %}
    {% set audience = revetl.tested_audience() %}
    {% if audience %}
        {% set relation = api.Relation.create(
            database=audience.database, schema=audience.schema, identifier=audience.alias) %}
        {% set columns = adapter.get_columns_in_relation(relation) %}
    {% endif %}
    select identifier_value as {{ revetl.quoted('key') }}
    from {{ suppressions }}
    where 1 = 0
    {%- for column in columns %}
    union all
    select cast(members.{{ revetl.quoted(key) }} as {{ revetl.type_of('varchar') }})
    from {{ relation }} as members
    inner join {{ suppressions }} as suppressions
        on
            {{ revetl.folded_type('suppressions.identifier_type') }}
            = '{{ revetl.folded_name(revetl.name_in_yaml(column)) | replace("'", "''") }}'
            and {{ revetl.normalised('suppressions.identifier_value') }}
            = {{ revetl.normalised('members.' ~ adapter.quote(column.name)) }}
    {%- endfor %}
{% endmacro %}

{# A type of suppressed identifiers as it is compared with the name of a column: `E-mail` is `email`. #}
{% macro folded_type(value) -%}
    lower(replace(replace(replace({{ value }}, '-', ''), '_', ''), ' ', ''))
{%- endmacro %}

{% macro folded_name(name) -%}
    {{ return(name | lower | replace('-', '') | replace('_', '') | replace(' ', '')) }}
{%- endmacro %}

{# A value as suppressions are compared. #}
{% macro normalised(value) -%}
    lower({{ revetl.trimmed('cast(' ~ value ~ ' as ' ~ revetl.type_of('varchar') ~ ')') }})
{%- endmacro %}
